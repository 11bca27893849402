"""The retrain governor: signals and history in, one decision out. Pure; the same input gives the same decision.

What it knows, from a year of real weeks (docs/decisions.md): distances between inputs say next to nothing about
whether retraining pays, since seasonal features drift in every single week; the calibration gap on delayed labels does.
So only the gap, or an estimate of what a retraining would gain, asks for a retraining (the policy says which); a PSI
asks for a look, and broken inputs or silence ask for a person, because a model must not learn from them.

Actions, from the mildest: ``nothing``; ``watch``; ``schedule`` (warranted, but not yet); ``retrain``; ``page``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal

from modelyard.core.value import Digest, ModelName, Moment, Value
from modelyard.core.verdict import Condition, Decision, Measurement, Outcome, Severity, Verdict
from modelyard.core.window import Window
from modelyard.drift.banded import BANDS, due, judge_bands, standing
from modelyard.drift.bands import Standing
from modelyard.drift.concept import QUALITY, judge_quality, relative_drops
from modelyard.drift.gain import GAIN, judge_gain
from modelyard.drift.importance import note, weights
from modelyard.drift.operations import OPERATIONS, judge_operations
from modelyard.drift.policy import DriftPolicy, InputRule
from modelyard.drift.upstream import UPSTREAM, judge_upstream
from modelyard.drift.verdicts import verdict as _verdict

Action = Literal["nothing", "watch", "schedule", "retrain", "page"]

TRAFFIC, LABELS, INPUTS, SHIFT, CALIBRATION = "traffic", "labels", "inputs", "shift", "calibration"
"""The checks, in the order of the verdicts; ``GAIN`` follows only where it was estimated or is what asks for a
retraining."""


class Signals(Value):
    """Everything that was measured for one check.

    ``quality`` holds the measurements of ``drift.quality`` for each window of the policy, newest window first;
    ``inputs`` those of ``drift.score`` for the newest window; ``gains`` what ``flows.gain`` measured for each step
    since the champion's training, oldest first. ``newest`` is the newest request in the log, ``newest_label`` the
    newest outcome received, ``trained_until`` the champion's ``as_of``. ``baseline`` is the
    quality at release, ``slices`` that of now by slice, ``operations`` the latency now and in the baseline,
    ``upstream`` what ``drift.upstream`` measures, ``importance`` one per feature. Where one is empty, nothing is judged
    by it.
    """

    model: ModelName
    champion: Digest | None
    as_of: Moment
    trained_until: Moment | None = None
    newest: Moment | None = None
    newest_label: Moment | None = None
    requests: int = 0
    quality: tuple[Measurement, ...] = ()
    inputs: tuple[Measurement, ...] = ()
    gains: tuple[Measurement, ...] = ()
    reference: Digest | None = None
    baseline: tuple[Measurement, ...] = ()
    slices: tuple[Measurement, ...] = ()
    operations: tuple[Measurement, ...] = ()
    upstream: tuple[Measurement, ...] = ()
    importance: tuple[Measurement, ...] = ()


class Past(Value):
    """An earlier decision of the governor."""

    at: Moment
    action: str
    champion: str


class History(Value):
    """What happened before, and what is under way. The order of ``past`` does not matter."""

    past: tuple[Past, ...] = ()
    retraining_open: bool = False
    rollout_open: str = ""

    def retrainings(self, since: Moment, until: Moment) -> tuple[Past, ...]:
        """Retrainings asked for in ``(since, until]``, oldest first."""
        found = (p for p in self.past if p.action == "retrain" and since < p.at <= until)
        return tuple(sorted(found, key=lambda p: p.at))


def decide(signals: Signals, history: History, policy: DriftPolicy, as_of: Moment) -> Decision:
    """Turn signals into one action with its reasons.

    Raises:
        ValueError: the signals are of another moment than the one asked about.
    """
    if signals.as_of != as_of:
        raise ValueError(f"signals of {signals.as_of} cannot decide about {as_of}")
    verdicts = judge(signals, history, policy)
    action, reasons = _conclude(verdicts, signals, history, policy)
    evidence = [signals.digest, *(d for d in (signals.champion, signals.reference) if d)]
    return Decision(
        kind="governor",
        action=action,
        model=signals.model,
        subject=signals.champion or signals.model,
        reasons=tuple(reasons),
        verdicts=verdicts,
        evidence=tuple(evidence),
        policy=policy.digest,
        as_of=as_of,
    )


def judge(signals: Signals, history: History, policy: DriftPolicy) -> tuple[Verdict, ...]:
    """One verdict per check; none at all without a champion."""
    if signals.champion is None:
        return ()
    checks = (_traffic(signals, policy), _labels(signals, policy), _inputs(signals, policy.inputs))
    gain = (judge_gain(signals.gains, policy.gain),) if signals.gains or policy.retrain_on == GAIN else ()
    decided = (judge_bands(_stands(signals, policy)),) if policy.retrain_on == BANDS else ()
    shift, noted = _shift(signals, policy.inputs), note(signals.importance, policy.inputs.least_importance)
    shift = shift.model_copy(update={"reason": f"{shift.reason}; {noted}"})
    told = (shift, _calibration(signals, history, policy), *gain, *decided)
    return (*checks, *told, *_advice(signals, policy))


def _advice(signals: Signals, policy: DriftPolicy) -> Iterable[Verdict]:
    """Quality, operations and upstream: where they fail they ask for a look."""
    if signals.baseline:
        yield judge_quality(_now(signals), signals.slices, signals.baseline, policy.quality, policy.bands)
    if len(signals.operations) > 1:
        yield judge_operations(signals.operations[0], signals.operations[1], policy.operations)
    if signals.upstream:
        yield judge_upstream(signals.upstream, policy.upstream)


def _now(signals: Signals) -> list[Measurement]:
    """Quality in the newest labelled window."""
    return list({m.name: m for m in reversed(signals.quality)}.values())


def _stands(signals: Signals, policy: DriftPolicy) -> Standing | None:
    rule = policy.inputs
    psi = [m for m in _watched(signals.inputs, {"psi"}, rule) if m.n >= rule.min_rows and _matters(m, signals, rule)]
    return standing(psi, relative_drops(_now(signals), signals.baseline), policy.bands)


def _matters(psi: Measurement, signals: Signals, rule: InputRule) -> bool:
    return weights(signals.importance).get(psi.slice, 1.0) >= rule.least_importance


def _conclude(
    verdicts: tuple[Verdict, ...], signals: Signals, history: History, policy: DriftPolicy
) -> tuple[Action, list[str]]:
    if not verdicts:
        return "nothing", ["no champion serves this model: there is nothing to watch yet"]
    by_check = {v.check: v for v in verdicts}
    pages = [by_check[c].reason for c in (TRAFFIC, LABELS, INPUTS) if by_check[c].outcome is Outcome.FAILED]
    asking = [v.reason for v in _asking(by_check, policy)]
    if pages:
        return "page", [*pages, *(f"no retraining on such data, although: {reason}" for reason in asking[:1])]
    if asking:
        action, restraint = _restrain(signals, history, policy)
        stands = _stands(signals, policy) if policy.retrain_on == BANDS else None
        if stands and (by := due(stands, history.past, signals.champion, signals.as_of)) > signals.as_of:
            action, restraint = ("schedule" if action == "retrain" else action), [f"due by {_time(by)}", *restraint]
        return action, [*asking, *restraint]
    # A gain that only a policy beside this one asks for is evidence here and no concern.
    counted = [v for v in verdicts if v.check != GAIN or policy.retrain_on == GAIN]
    concerns = [v.reason for v in counted if _concerns(v)]
    if concerns:
        return "watch", concerns
    # What is only unknown asks for nothing here, and is never told as fine.
    unknown = [v.reason for v in counted if v.outcome is not Outcome.SUCCESSFUL]
    return "nothing", [by_check[CALIBRATION].reason, *unknown]


def _concerns(verdict: Verdict) -> bool:
    """Whether it asks for a look: whatever failed, and whatever of the main checks is unknown."""
    advisory = verdict.check in {QUALITY, OPERATIONS, UPSTREAM}
    return verdict.outcome not in {Outcome.SUCCESSFUL, *((Outcome.INCONCLUSIVE,) if advisory else ())}


def _asking(by_check: Mapping[str, Verdict], policy: DriftPolicy) -> list[Verdict]:
    """The verdict that asks for a retraining, and the other's that speaks to it; none if nothing asks.

    Where the gain decides and is not known, the gap decides: no estimate is no reason to leave a bad model alone.
    """
    gap, gain = by_check[CALIBRATION], by_check.get(GAIN)
    if policy.retrain_on == BANDS:
        return [by_check[BANDS]] if by_check[BANDS].outcome is Outcome.FAILED else []
    known = gain is not None and gain.outcome is not Outcome.INCONCLUSIVE
    first, second = (gain, gap) if policy.retrain_on == GAIN and gain is not None and known else (gap, gain)
    return [v for v in (first, second) if v is not None] if first.outcome is Outcome.FAILED else []


def _restrain(signals: Signals, history: History, policy: DriftPolicy) -> tuple[Action, list[str]]:
    """Whether a warranted retraining may start now."""
    rule, now = policy.restraint, signals.as_of
    if history.retraining_open:
        return "watch", ["a retraining is already running: this cause is its cause"]
    if history.rollout_open:
        return "watch", [f"rollout {history.rollout_open} is open: its version may settle the matter"]
    recent = history.retrainings(now - timedelta(days=rule.budget_days), now)
    last = max([p.at for p in recent] + [m for m in (signals.trained_until,) if m], default=None)
    ready = last + timedelta(hours=rule.cooldown_hours) if last else now
    if now < ready:
        return "schedule", [f"cool-down of {rule.cooldown_hours} h since {_time(last)}: not before {_time(ready)}"]
    if len(recent) >= rule.budget:
        spent = f"{len(recent)} retrainings in {rule.budget_days} days, the budget is {rule.budget}"
        return "page", [f"{spent}: retraining does not cure this, a person must look"]
    return "retrain", [f"{len(recent)} of {rule.budget} retrainings of the last {rule.budget_days} days used"]


def _traffic(signals: Signals, policy: DriftPolicy) -> Verdict:
    """Silence is counted from the champion's training at the earliest: before it nobody could have asked."""
    limit = policy.silence.traffic_hours
    since = max((m for m in (signals.newest, signals.trained_until) if m), default=None)
    hours = _hours(signals.as_of, since)
    quiet = hours is None or hours > limit
    if quiet:
        heard = f"last request at {_time(signals.newest)}" if signals.newest else "no request was ever logged"
        reason = (
            f"no traffic: {heard}, {_long(hours)} before {_time(signals.as_of)} (at most {limit} h); drift is unknown"
        )
        return _verdict(TRAFFIC, Outcome.FAILED, reason)
    if not signals.requests:
        return _verdict(
            TRAFFIC, Outcome.INCONCLUSIVE, "no request of this champion in the window yet; drift is unknown"
        )
    return _verdict(TRAFFIC, Outcome.SUCCESSFUL, f"{signals.requests} requests, the newest {_long(hours)} old")


def _labels(signals: Signals, policy: DriftPolicy) -> Verdict:
    """Labels may be late; that none has come for long while requests did is an incident."""
    limit = policy.silence.label_hours
    since = max((m for m in (signals.newest_label, signals.trained_until) if m), default=None)
    hours = _hours(signals.as_of, since)
    coverage = _newest(signals.quality, "label_coverage")
    heard = (
        f"last outcome received at {_time(signals.newest_label)}" if signals.newest_label else "no outcome ever came"
    )
    if signals.requests and (hours is None or hours > limit):
        reason = f"labels are missing: {heard} (at most {limit} h ago); quality is unknown"
        return _verdict(LABELS, Outcome.FAILED, reason, coverage)
    if coverage is None or not coverage.value:
        return _verdict(LABELS, Outcome.INCONCLUSIVE, f"labels are late: {heard}; quality is unknown", coverage)
    return _verdict(LABELS, Outcome.SUCCESSFUL, f"{coverage.value:.1%} of {coverage.n} requests have a label", coverage)


def _inputs(signals: Signals, rule: InputRule) -> Verdict:
    """Inputs that are absent, impossible or unknown: upstream is broken, and no retraining mends it."""
    bounds = {
        "missing_rise": rule.page_missing_rise,
        "unseen_rate": rule.page_unseen,
        "invalid_rate": rule.page_invalid,
    }
    watched = _watched(signals.inputs, bounds, rule)
    if not any(m.value is not None and m.n >= rule.min_rows for m in watched):
        return _verdict(INPUTS, Outcome.INCONCLUSIVE, f"fewer than {rule.min_rows} requests: inputs are unknown")
    broken = [m for m in watched if m.value is not None and m.value > bounds[m.name]]
    if broken:
        listed = ", ".join(f"{m.name} of {_feature(m)} {m.value:.3f} (at most {bounds[m.name]:g})" for m in broken[:5])
        return _verdict(INPUTS, Outcome.FAILED, f"inputs are broken upstream: {listed}", *broken)
    return _verdict(INPUTS, Outcome.SUCCESSFUL, f"{len(watched)} rates of missing, invalid, unseen inputs in bounds")


def _shift(signals: Signals, rule: InputRule) -> Verdict:
    """The naive check, kept as a reason to look. Seasonal features fail it in every week."""
    watched = [m for m in _watched(signals.inputs, {"psi"}, rule) if m.value is not None and m.n >= rule.min_rows]
    learnt = {m.slice: _value(m) for m in signals.inputs if m.name == "psi_threshold" and rule.shift == "held_out"}
    weighed = [m for m in watched if _matters(m, signals, rule)]
    over = sorted(
        (m for m in weighed if (_value(m) > learnt[m.slice] if m.slice in learnt else _value(m) >= rule.watch_psi)),
        key=_value,
        reverse=True,
    )
    bound = Condition(direction="below", bound=rule.watch_psi)
    if not watched:
        return _verdict(SHIFT, Outcome.INCONCLUSIVE, f"fewer than {rule.min_rows} requests: no PSI", condition=bound)
    if learnt and not all(_whole(m, signals) for m in watched):
        reason = "PSI is unknown beside whole weeks: the window began before the training ended"
        return _verdict(SHIFT, Outcome.INCONCLUSIVE, reason, *watched[:10])
    if learnt:
        return _shift_learnt(watched, over, learnt)
    top = ", ".join(f"{_feature(m)} {_value(m):.2f}" for m in (over or watched)[:3])
    if not over:
        return _verdict(SHIFT, Outcome.SUCCESSFUL, f"PSI below {rule.watch_psi:g} everywhere ({top})", condition=bound)
    reason = f"PSI at least {rule.watch_psi:g} for {len(over)} of {len(watched)} features ({top}): no reason to retrain"
    return _verdict(SHIFT, Outcome.FAILED, reason, *over[:10], condition=bound, severity=Severity.WARNING)


def _shift_learnt(watched: list[Measurement], over: list[Measurement], learnt: dict[str, float]) -> Verdict:
    """Against thresholds of each feature's own, learnt from the reference's weeks (``drift.thresholds``)."""
    if not over:
        return _verdict(SHIFT, Outcome.SUCCESSFUL, f"PSI of {len(watched)} features as in the reference's own weeks")
    weeks = [f" (its weeks: {learnt[m.slice]:.2f})" if m.slice in learnt else "" for m in over]
    top = ", ".join(f"{_feature(m)} {_value(m):.2f}{own}" for m, own in zip(over[:3], weeks, strict=False))
    beyond = f"PSI beyond the reference's own weeks for {len(over)} of {len(watched)} features: {top}"
    return _verdict(SHIFT, Outcome.FAILED, f"{beyond}: no reason to retrain", *over[:10], severity=Severity.WARNING)


def _calibration(signals: Signals, history: History, policy: DriftPolicy) -> Verdict:
    rule, windows = policy.calibration, policy.windows
    gaps = [m for m in signals.quality if m.name == "calibration_gap"]
    known = [m for m in gaps if m.value is not None and m.n >= rule.min_labels and _whole(m, signals)]
    bound = Condition(direction="at_most", bound=rule.retrain_above)
    shown = ", ".join(_gap(m) for m in known) or "none"
    over = max(([m for m in known if _exceeds(m, rule.retrain_above, sign)] for sign in (1, -1)), key=len)
    asked = f"{windows.needed} of {windows.count} windows of {windows.length_hours} h"
    if len(over) >= windows.needed:
        reason = f"calibration gap beyond {rule.retrain_above:g} in {len(over)} windows, {asked} suffice: {shown}"
        return _verdict(CALIBRATION, Outcome.FAILED, reason, *known, condition=bound)
    if len(known) < windows.needed:
        needs = f"each needs {rule.min_labels} labels and all of its {windows.length_hours} h after the training"
        why = next((m.why for m in gaps if m.why), needs)
        reason = f"calibration is unknown: {len(known)} windows with evidence, {asked} are needed ({why})"
        return _verdict(CALIBRATION, Outcome.INCONCLUSIVE, reason, *gaps, condition=bound)
    if _still_open(signals, history) and abs(_value(known[0])) > rule.clear_at_most:
        reason = f"calibration gap not yet back to {rule.clear_at_most:g} after it asked for a retraining: {shown}"
        return _verdict(CALIBRATION, Outcome.INCONCLUSIVE, reason, *known, condition=bound)
    if beyond := sum(abs(_value(m)) > rule.retrain_above for m in known):
        reason = f"calibration gap beyond {rule.retrain_above:g} in {beyond} of {len(known)} windows, {asked} would be "
        return _verdict(CALIBRATION, Outcome.INCONCLUSIVE, f"{reason}surely so: {shown}", *known, condition=bound)
    reason = f"calibration gap within {rule.retrain_above:g}: {shown}"
    return _verdict(CALIBRATION, Outcome.SUCCESSFUL, reason, *known, condition=bound)


def _whole(measured: Measurement, signals: Signals) -> bool:
    """Whether the window lies behind the champion's training: a few first days are a weekday's weather, no week."""
    begun = signals.trained_until
    return begun is None or measured.window is None or measured.window.start >= begun


def _still_open(signals: Signals, history: History) -> bool:
    """Whether this champion's gap had asked for a retraining, and nothing was found in order since."""
    past = [p for p in history.past if p.champion == signals.champion and p.at < signals.as_of]
    asked = max((p.at for p in past if p.action in {"retrain", "schedule"}), default=None)
    settled = max((p.at for p in past if p.action == "nothing"), default=None)
    return asked is not None and (settled is None or settled < asked)


def _exceeds(gap: Measurement, bound: float, sign: int) -> bool:
    """Beyond the bound on this side, and surely not zero: a few rows of a bad day are no reason."""
    end = gap.low if sign > 0 else gap.high
    return sign * _value(gap) > bound and end is not None and sign * end > 0


def _watched(measured: Iterable[Measurement], names: Iterable[str], rule: InputRule) -> list[Measurement]:
    return [m for m in measured if m.name in names and _feature(m) not in rule.ignore]


def _newest(measured: Iterable[Measurement], name: str) -> Measurement | None:
    return next((m for m in measured if m.name == name), None)


def _value(measurement: Measurement) -> float:
    return 0.0 if measurement.value is None else measurement.value


def _feature(measurement: Measurement) -> str:
    return measurement.slice.removeprefix("feature=")


def _gap(gap: Measurement) -> str:
    bounds = f" [{gap.low:+.3f}, {gap.high:+.3f}]" if gap.low is not None and gap.high is not None else ""
    until = f" until {_time(gap.window.end)}" if isinstance(gap.window, Window) else ""
    return f"{_value(gap):+.3f}{bounds}, n = {gap.n}{until}"


def _hours(now: Moment, then: Moment | None) -> float | None:
    return None if then is None else (now - then) / timedelta(hours=1)


def _long(hours: float | None) -> str:
    return "an unknown time" if hours is None else f"{hours:.1f} h"


def _time(moment: Moment | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%dT%H:%MZ")
