"""What a shadow stage asks beside the checks of every stage: is the challenger quick enough, and of this world?

Neither check fails: nobody is harmed meanwhile, and the guardrails, whose tests bear being looked at all the time, end
what is clearly bad.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.core.verdict import Condition, Measurement, Outcome, Verdict
from modelyard.rollout.state import RolloutState


def judge(state: RolloutState, found: Mapping[tuple[str, str], Measurement]) -> tuple[Verdict, ...]:
    """Latency against the guardrails' limit, and outputs against the champion's on the same rows."""
    guards = state.policy.guardrails
    slow, apart = (found.get((name, "challenger")) for name in ("slow_rate", "disagreement"))
    return (
        _share(state, "latency", slow, guards.latency_budget, f"calls longer than {guards.latency_slo_ms:g} ms"),
        _share(state, "outputs", apart, guards.disagreement_budget, f"rows apart by > {guards.disagreement_above:g}"),
    )


def _share(state: RolloutState, check: str, share: Measurement | None, budget: float, of_what: str) -> Verdict:
    outcome, kept = Outcome.INCONCLUSIVE, () if share is None else (share,)
    condition = Condition(direction="at_most", bound=budget)
    if share is None or share.value is None:
        reason = f"{check}: no evidence ({'it was not measured' if share is None else share.why})"
    else:
        reason = f"{share.value:.2%} of {share.n} {of_what} (at most {budget:.2%})"
        if share.n >= state.policy.tolerance.min_rows and condition.holds(share.value):
            outcome = Outcome.SUCCESSFUL
    return Verdict(
        check=check, outcome=outcome, reason=reason, condition=condition, measurements=kept, category="rollout"
    )
