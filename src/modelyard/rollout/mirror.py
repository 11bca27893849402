"""What a shadow stage asks beside the checks of every stage: is the challenger quick enough, and of this world?

None of the checks fails: nobody is harmed meanwhile, and the guardrails, whose tests bear being looked at all the
time, end what is clearly bad.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.rollout.shadow import CALL_MS
from modelyard.rollout.state import RolloutState

CALLS = 50
"""Calls from which on a percentile of them says something; each has the rows of some milliseconds."""


def judge(state: RolloutState, found: Mapping[tuple[str, str], Measurement]) -> tuple[Verdict, ...]:
    """Latency against the champion's and against the guardrails' limit, and outputs against the champion's."""
    guards = state.policy.guardrails
    slow, apart = (found.get((name, "challenger")) for name in ("slow_rate", "disagreement"))
    return (
        _latency(state, found),
        _share(state, "latency_slo", slow, guards.latency_budget, f"calls longer than {guards.latency_slo_ms:g} ms"),
        _share(state, "outputs", apart, guards.disagreement_budget, f"rows apart by > {guards.disagreement_above:g}"),
    )


def _latency(state: RolloutState, found: Mapping[tuple[str, str], Measurement]) -> Verdict:
    """The p95 of the calls on batches that both versions scored: at most ``latency_p95_ratio`` times the champion's, or
    the tolerance where that is more. Versions of different inputs have no such batches: the limit alone decides."""
    new, old = (found.get((CALL_MS, variant)) for variant in ("challenger", "champion"))
    kept = tuple(m for m in (new, old) if m is not None)
    given = {"check": "latency", "measurements": kept, "category": "rollout"}
    if new is None or old is None or new.value is None or old.value is None:
        missing = next((m for m in (new, old) if m is None or m.value is None), None)
        why = "it was not measured" if missing is None else missing.why
        if missing is not None and missing.n:  # there cannot be any
            told = {"reason": f"latency: not compared, {why}", "severity": Severity.INFORMATIONAL}
            return Verdict.model_validate({"outcome": Outcome.SUCCESSFUL} | told | given)
        return Verdict.model_validate(
            {"outcome": Outcome.INCONCLUSIVE, "reason": f"latency: no evidence ({why})"} | given
        )
    bound = max(state.policy.tolerance.latency_p95_ms, state.current.latency_p95_ratio * old.value)
    condition = Condition(direction="at_most", bound=bound)
    needed = min(state.policy.tolerance.min_rows, CALLS)
    fine = new.n >= needed and condition.holds(new.value)
    calls = f"{new.n} calls" if new.n >= needed else f"{new.n} calls of {needed} needed"
    reason = f"p95 of {calls} {new.value:.3g} ms, the champion's {old.value:.3g} ms (at most {bound:.3g} ms)"
    outcome = Outcome.SUCCESSFUL if fine else Outcome.INCONCLUSIVE
    return Verdict.model_validate({"outcome": outcome, "reason": reason, "condition": condition} | given)


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
