"""What a look comes to. Pure: the same state, measurements and moment give the same answer, from the record too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf

from modelyard.core.records import AnalysisRun
from modelyard.core.verdict import Condition, Direction, Measurement, Outcome, Severity, Verdict
from modelyard.rollout import feedback, fleet, mirror
from modelyard.rollout.fast_track import EXCEPTIONAL, exceptional
from modelyard.rollout.loss import LOSS, LOSS_ROWS
from modelyard.rollout.policy import Quality
from modelyard.rollout.state import Action, RolloutState

Found = Mapping[tuple[str, str], Measurement]
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
        errors(state, found.get(("error_rate", "challenger")), found.get(("error_rate", "champion"))),
        *(mirror.judge(state, found) if state.current.shadow else (_p95(state, found),)),
        quality(state, found.get((LOSS, "")), found.get((LOSS_ROWS, ""))),
        *feedback.judge(state, found),
        *exceptional(state, found),
        *fleet.judge(found),
    )


def _p95(state: RolloutState, found: Found) -> Verdict:
    challenger, champion = (found.get(("latency_p95_ms", variant)) for variant in ("challenger", "champion"))
    return latency(state, challenger, champion)


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
    shown = any(v.check == EXCEPTIONAL and v.outcome is Outcome.SUCCESSFUL for v in verdicts)
    return "fast_track" if shown else "advance"


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


def errors(state: RolloutState, challenger: Measurement | None, champion: Measurement | None) -> Verdict:
    """At most ``error_ratio`` times the champion's rate, or the tolerance where that is more; see ``_compared``."""
    if challenger is None or challenger.value is None or challenger.low is None:
        return _missing("errors", challenger)
    ratio, least = state.current.error_ratio, state.policy.tolerance.error_rate
    limits = tuple(ratio * max(rate, least) for rate in _ends(champion))
    outcome, asked = _compared(state, challenger, limits)
    if outcome is Outcome.FAILED and challenger.value * challenger.n <= ERROR_PRIOR:
        outcome = Outcome.INCONCLUSIVE
    condition = Condition(direction="at_most", bound=limits[1])
    shown = f"errors {challenger.value:.2%} (at most {limits[1]:.2%}){asked}"
    return _verdict("errors", outcome, shown, challenger, champion, condition=condition)


def latency(state: RolloutState, challenger: Measurement | None, champion: Measurement | None) -> Verdict:
    """A p95 below the tolerance is fine whatever the ratio; above it, see ``_compared``."""
    if challenger is None or challenger.value is None:
        return _missing("latency", challenger)
    ratio, tolerance = state.current.latency_p95_ratio, state.policy.tolerance
    limits = tuple(max(tolerance.latency_p95_ms, ratio * p95) for p95 in _ends(champion))
    outcome, asked = _compared(state, challenger, limits)
    if outcome is Outcome.FAILED and challenger.n < tolerance.min_rows:
        outcome = Outcome.INCONCLUSIVE
    condition = Condition(direction="at_most", bound=limits[1])
    shown = f"p95 {challenger.value:.1f} ms (at most {limits[1]:.1f} ms){asked}"
    return _verdict("latency", outcome, shown, challenger, champion, condition=condition)


def _ends(champion: Measurement | None) -> tuple[float, float, float]:
    """Lower end, value, upper end. Of a champion that nobody asked nothing is known but the tolerance; while its upper
    end is open, the challenger cannot be shown to be worse."""
    if champion is None or champion.value is None:
        return 0.0, 0.0, 0.0
    low = 0.0 if champion.low is None else champion.low
    return low, champion.value, inf if champion.high is None else champion.high


def _compared(state: RolloutState, measured: Measurement, limits: tuple[float, ...]) -> tuple[Outcome, str]:
    """Stages are passed on what was observed; promotion takes proof, and so does harm.

    ``limits`` follow from the champion's lower end, value and upper end. Proof is the challenger's upper end against
    the first, harm its lower end against the last; both hold however often one looks.
    """
    least, observed, most = limits
    if measured.low is not None and measured.low > most:
        return Outcome.FAILED, ""
    fine = measured.n >= state.policy.tolerance.min_rows and measured.value is not None and measured.value <= observed
    if not state.last_stage or state.strategy == "shadow":
        return (Outcome.SUCCESSFUL if fine else Outcome.INCONCLUSIVE), ""
    proven = fine and measured.high is not None and measured.high <= least
    high = "no upper end yet" if measured.high is None else f"upper end {measured.high:.4g}"
    return (Outcome.SUCCESSFUL if proven else Outcome.INCONCLUSIVE), f"; {high}, promotion asks for {least:.4g}"


def quality(state: RolloutState, loss: Measurement | None, by_rows: Measurement | None) -> Verdict:
    """In a stage that does not wait for the loss, it is shown and can only end the rollout.

    What is shown rests on blocks (``loss``). Gross harm is acted on by rows (``by_rows``), on the first day already: it
    lies so far beyond what a day's weather does to two sound versions that users need not wait for a week of it.
    """
    verdict = _loss(state, loss, by_rows)
    waits = state.current.quality and (state.paired or not state.current.shadow)
    return verdict if waits else verdict.model_copy(update={"severity": Severity.INFORMATIONAL})


def _loss(state: RolloutState, loss: Measurement | None, by_rows: Measurement | None) -> Verdict:
    quality = state.policy.quality
    if loss is None or loss.value is None:
        return _missing("quality", loss)
    # Zero at most is what an identical version has, and its interval is the point zero: better means below.
    direction: Direction = "below" if quality.ask == "superior" else "at_most"
    condition = Condition(direction=direction, bound=quality.bound)
    # A test between two versions is lost by the one that is surely not the better one; a rollout, by harm.
    limit = quality.bound if state.strategy == "ab_test" else quality.margin
    shown, enough = _shown(loss), loss.n >= quality.min_rows
    if _grossly(by_rows, quality) or (enough and loss.low is not None and loss.low > limit):
        reason, outcome = f"clearly worse: {shown}, margin {limit:g}", Outcome.FAILED
    elif enough and loss.high is not None and condition.holds(loss.high):
        reason, outcome = shown, Outcome.SUCCESSFUL
    else:
        asked = f"{quality.min_rows} rows, {quality.min_blocks} blocks and an upper end {condition}"
        reason, outcome = f"{shown}; {asked} are asked", Outcome.INCONCLUSIVE
    return _verdict("quality", outcome, reason, loss, by_rows, condition=condition)


def _shown(loss: Measurement) -> str:
    ends = "" if loss.low is None or loss.high is None else f" in [{loss.low:+.4f}, {loss.high:+.4f}]"
    blocks = f", {loss.evidence}" if loss.evidence else ""
    return f"loss difference {loss.value:+.4f}{ends} on {loss.n} labelled rows{blocks}"


def _grossly(by_rows: Measurement | None, quality: Quality) -> bool:
    if by_rows is None or by_rows.low is None:
        return False
    return by_rows.low > quality.gross * quality.margin and by_rows.n >= quality.min_rows // 4
