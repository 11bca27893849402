"""What a look comes to. Pure: the same state, measurements and moment give the same answer, from the record too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from modelyard.core.records import AnalysisRun
from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.rollout import fleet
from modelyard.rollout.evidence import LOSS
from modelyard.rollout.state import Action, RolloutState

Found = Mapping[tuple[str, str], Measurement]
EXCEPTIONAL = "exceptional"
ERROR_PRIOR = 2
"""Failures that a version may have before its error rate is judged by ratio: a single failure is no rate."""


def decide(state: RolloutState, measurements: Sequence[Measurement], now: datetime) -> AnalysisRun:
    """Judge one look at the current stage.

    Any failed check rolls back, at any time. All checks successful goes on (informational ones do not count). Otherwise
    the stage holds (no traffic and no labels are no evidence, never a pass) until its deadline, when the policy's
    ``on_deadline`` decides.
    """
    verdicts = judge(state, measurements)
    action, reasons = _action(state, verdicts, now)
    return AnalysisRun(
        rollout=state.id,
        model=state.model,
        stage=state.stage,
        look=state.looks,
        as_of=now,
        measurements=tuple(measurements),
        verdicts=verdicts,
        action=action,
        reasons=reasons,
        policy=state.policy.digest,
    )


def judge(state: RolloutState, measurements: Sequence[Measurement]) -> tuple[Verdict, ...]:
    """A verdict per check of the stage."""
    found = {(m.name, m.variant): m for m in measurements}
    smoke = (_smoke(found.get(("smoke", ""))),)
    if state.strategy == "first":
        return (*smoke, *fleet.judge(found, traffic=False))
    return (
        *(smoke if state.strategy == "blue_green" else ()),
        _guardrails(found.get(("guardrail_trips", ""))),
        _time(state, found.get(("seconds_in_stage", ""))),
        _traffic(state, found.get(("rows", "challenger"))),
        _errors(state, found.get(("error_rate", "challenger")), found.get(("error_rate", "champion"))),
        *(_in_shadow(state, found) if state.current.shadow else _in_the_open(state, found)),
        _quality(state, found.get((LOSS, ""))),
        *_exceptional(state, found),
        *fleet.judge(found),
    )


def _in_the_open(state: RolloutState, found: Found) -> tuple[Verdict, ...]:
    p95 = "latency_p95_ms"
    return (_latency(state, found.get((p95, "challenger")), found.get((p95, "champion"))),)


def _in_shadow(state: RolloutState, found: Found) -> tuple[Verdict, ...]:
    """Harm to users cannot be; whether the challenger is too slow or too different, the guardrails find at once."""
    guards = state.policy.guardrails
    slow, apart = (found.get((name, "challenger")) for name in ("slow_rate", "disagreement"))
    return (
        _share(state, "latency", slow, guards.latency_budget, f"calls longer than {guards.latency_slo_ms:g} ms"),
        _share(state, "outputs", apart, guards.disagreement_budget, f"rows apart by > {guards.disagreement_above:g}"),
    )


def _action(state: RolloutState, verdicts: Sequence[Verdict], now: datetime) -> tuple[Action, tuple[str, ...]]:
    failed = tuple(v.reason for v in verdicts if v.outcome is Outcome.FAILED)
    if failed:
        return "rollback", failed
    open_checks = tuple(v.reason for v in verdicts if v.blocks)
    if state.paused:
        return "hold", ("paused by hand", *open_checks)
    if not open_checks:
        return _onward(state, verdicts), tuple(v.reason for v in verdicts)
    if state.deadline is not None and now >= state.deadline:
        late = f"the stage came to nothing within {state.current.max_seconds:g} s"
        return state.policy.on_deadline, (late, *open_checks)
    return "hold", open_checks


def _onward(state: RolloutState, verdicts: Sequence[Verdict]) -> Action:
    if state.last_stage:
        return "conclude" if state.strategy == "shadow" else "promote"
    exceptional = any(v.check == EXCEPTIONAL and v.outcome is Outcome.SUCCESSFUL for v in verdicts)
    return "fast_track" if exceptional else "advance"


def _verdict(check: str, outcome: Outcome, reason: str, *measured: Measurement | None, **more: object) -> Verdict:
    kept = tuple(m for m in measured if m is not None)
    return Verdict.model_validate(
        {"check": check, "outcome": outcome, "reason": reason, "measurements": kept, "category": "rollout", **more}
    )


def _missing(check: str, measured: Measurement | None) -> Verdict:
    why = "it was not measured" if measured is None else measured.why
    return _verdict(check, Outcome.INCONCLUSIVE, f"{check}: no evidence ({why})", measured)


def _smoke(smoke: Measurement | None) -> Verdict:
    if smoke is None or smoke.value is None:
        return _missing("smoke", smoke)
    if smoke.value > 0:
        return _verdict("smoke", Outcome.FAILED, f"the smoke test failed: {smoke.evidence}", smoke)
    return _verdict("smoke", Outcome.SUCCESSFUL, "every replica answers the example alike", smoke)


def _guardrails(trips: Measurement | None) -> Verdict:
    if trips is None or trips.value is None:
        return _missing("guardrails", trips)
    if trips.value > 0:
        return _verdict("guardrails", Outcome.FAILED, f"a guardrail tripped ({trips.evidence})", trips)
    return _verdict("guardrails", Outcome.SUCCESSFUL, "no guardrail tripped", trips)


def _time(state: RolloutState, seconds: Measurement | None) -> Verdict:
    if seconds is None or seconds.value is None:
        return _missing("time", seconds)
    needed = state.current.min_seconds
    outcome = Outcome.SUCCESSFUL if seconds.value >= needed else Outcome.INCONCLUSIVE
    condition = Condition(direction="at_least", bound=needed)
    return _verdict("time", outcome, f"{seconds.value:.0f} s of {needed:g} s", seconds, condition=condition)


def _traffic(state: RolloutState, rows: Measurement | None) -> Verdict:
    if rows is None or rows.value is None:
        return _missing("traffic", rows)
    needed = state.current.min_rows
    outcome = Outcome.SUCCESSFUL if rows.value >= needed else Outcome.INCONCLUSIVE
    condition = Condition(direction="at_least", bound=needed)
    return _verdict("traffic", outcome, f"{rows.value:.0f} of {needed} rows", rows, condition=condition)


def _errors(state: RolloutState, challenger: Measurement | None, champion: Measurement | None) -> Verdict:
    """Fails only when the whole interval lies above the bound: a rate from few rows may be chance."""
    if challenger is None or challenger.value is None or challenger.low is None:
        return _missing("errors", challenger)
    base = champion.value if champion is not None and champion.value is not None else 0.0
    bound = state.current.error_ratio * max(base, state.policy.tolerance.error_rate)
    condition = Condition(direction="at_most", bound=bound)
    enough = challenger.n >= state.policy.tolerance.min_rows
    shown = f"errors {challenger.value:.2%} (at most {bound:.2%})"
    outcome = Outcome.SUCCESSFUL if enough and challenger.value <= bound else Outcome.INCONCLUSIVE
    if challenger.low > bound and challenger.value * challenger.n > ERROR_PRIOR:
        outcome = Outcome.FAILED
    return _verdict("errors", outcome, shown, challenger, champion, condition=condition)


def _latency(state: RolloutState, challenger: Measurement | None, champion: Measurement | None) -> Verdict:
    """A p95 below the tolerance is fine whatever the ratio; above it, the intervals must be apart to fail."""
    if challenger is None or challenger.value is None:
        return _missing("latency", challenger)
    tolerance = state.policy.tolerance
    base = champion.value if champion is not None and champion.value is not None else 0.0
    bound = max(tolerance.latency_p95_ms, state.current.latency_p95_ratio * base)
    condition = Condition(direction="at_most", bound=bound)
    shown = f"p95 {challenger.value:.1f} ms (at most {bound:.1f} ms)"
    enough = challenger.n >= tolerance.min_rows
    outcome = Outcome.SUCCESSFUL if enough and challenger.value <= bound else Outcome.INCONCLUSIVE
    worst_base = champion.high if champion is not None and champion.high is not None else 0.0
    surely = max(tolerance.latency_p95_ms, state.current.latency_p95_ratio * worst_base)
    if enough and challenger.low is not None and challenger.low > surely:
        outcome = Outcome.FAILED
    return _verdict("latency", outcome, shown, challenger, champion, condition=condition)


def _share(state: RolloutState, check: str, share: Measurement | None, budget: float, of_what: str) -> Verdict:
    """A share of what was mirrored; never failed, for the guardrails' tests bear being looked at all the time."""
    if share is None or share.value is None:
        return _missing(check, share)
    condition = Condition(direction="at_most", bound=budget)
    fine = share.n >= state.policy.tolerance.min_rows and share.value <= budget
    outcome = Outcome.SUCCESSFUL if fine else Outcome.INCONCLUSIVE
    reason = f"{share.value:.2%} of {share.n} {of_what} (at most {budget:.2%})"
    return _verdict(check, outcome, reason, share, condition=condition)


def _quality(state: RolloutState, loss: Measurement | None) -> Verdict:
    """In a stage that does not wait for the loss, it is shown and can only end the rollout."""
    verdict = _loss(state, loss)
    waits = state.current.quality and (state.paired or not state.current.shadow)
    return verdict if waits else verdict.model_copy(update={"severity": Severity.INFORMATIONAL})


def _loss(state: RolloutState, loss: Measurement | None) -> Verdict:
    quality = state.policy.quality
    if loss is None or loss.value is None or loss.low is None or loss.high is None:
        return _missing("quality", loss)
    condition = Condition(direction="at_most", bound=quality.bound)
    shown = f"loss difference {loss.value:+.4f} in [{loss.low:+.4f}, {loss.high:+.4f}] on {loss.n} labelled rows"
    # A test between two versions is lost by the one that is surely not the better one; a rollout, by harm.
    limit = quality.bound if state.strategy == "ab_test" else quality.margin
    gross = loss.low > quality.gross * quality.margin and loss.n >= quality.min_rows // 4
    if gross or (loss.low > limit and loss.n >= quality.min_rows):
        reason = f"clearly worse: {shown}, margin {limit:g}"
        return _verdict("quality", Outcome.FAILED, reason, loss, condition=condition)
    if loss.n >= quality.min_rows and loss.high <= quality.bound:
        return _verdict("quality", Outcome.SUCCESSFUL, shown, loss, condition=condition)
    reason = f"{shown}, {quality.min_rows} rows and an upper end of at most {quality.bound:g} are asked"
    return _verdict("quality", Outcome.INCONCLUSIVE, reason, loss, condition=condition)


def _exceptional(state: RolloutState, found: Found) -> tuple[Verdict, ...]:
    """Whether the stages up to the last one may be left out; said only where the policy offers it."""
    track = state.policy.fast_track
    if track is None or state.current.weight < track.from_weight or state.stage >= len(state.stages) - 2:
        return ()
    asked = {"accuracy_gain": track.accuracy, "latency_gain": track.latency_p95, "error_gain": track.error_rate}
    gains = [found.get((name, "")) for name in asked]
    shown = [_gain(name, least, gain) for (name, least), gain in zip(asked.items(), gains, strict=True)]
    certain = all(
        gain is not None and gain.low is not None and gain.low >= least
        for gain, least in zip(gains, asked.values(), strict=True)
    )
    labelled = gains[0].n if gains[0] is not None else 0
    fine = certain and labelled >= track.min_rows
    outcome = Outcome.SUCCESSFUL if fine else Outcome.INCONCLUSIVE
    reason = f"{'' if fine else 'not '}exceptional: {', '.join(shown)}, {labelled} labelled rows"
    return (_verdict(EXCEPTIONAL, outcome, reason, *gains, severity=Severity.INFORMATIONAL),)


def _gain(name: str, least: float, gain: Measurement | None) -> str:
    known = "not known" if gain is None or gain.low is None else f"at least {gain.low:+.2%}"
    return f"{name.replace('_', ' ')} {known} (of {least:+.2%})"
