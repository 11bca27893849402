"""Concept drift beside the calibration gap: how much worse the answers are than at the champion's release, by slice.

Relative to a baseline: ``accuracy_drop`` and ``auc_drop`` are (baseline - now) / baseline, ``logloss_rise`` is
(now - baseline) / baseline, so that each is positive when things got worse. Intervals treat the two sides as
independent: they are different rows. All of them move with the rate of events too, which no retraining changes, and
so they ask for a look and never for a retraining.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import hypot

from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.drift.bands import Bands
from modelyard.drift.policy import QualityRule
from modelyard.drift.verdicts import advice, bounded
from modelyard.stats.intervals import normal_quantile

QUALITY = "quality"

DROPS = {"accuracy": ("accuracy_drop", -1.0), "auc": ("auc_drop", -1.0), "logloss": ("logloss_rise", 1.0)}
"""By measure: the name of its relative change, and the sign that makes worse positive."""


def relative_drops(
    current: Iterable[Measurement], baseline: Iterable[Measurement], confidence: float = 0.95
) -> tuple[Measurement, ...]:
    """The relative changes of every measure and slice that both sides have a value of; ``n`` is that of ``current``.

    A baseline without an interval (a slice of an evaluation) is taken to be as noisy a row as ``current`` is. Without
    an interval of ``current`` there is none.
    """
    before = {(m.name, m.slice): m for m in baseline if m.value is not None and m.value > 0}
    found = []
    for now in current:
        then = before.get((now.name, now.slice))
        if now.name in DROPS and now.value is not None and then is not None:
            found.append(_drop(now, then, confidence))
    return tuple(found)


def _drop(now: Measurement, then: Measurement, confidence: float) -> Measurement:
    name, sign = DROPS[now.name]
    new, old = now.value or 0.0, then.value or 1.0
    error, about = _error(now), {"slice": now.slice, "n": now.n, "window": now.window, "subject": now.subject}
    value, low, high = sign * (new - old) / old, None, None
    if error is not None:
        before = _error(then)
        before = error * (now.n / max(then.n, 1)) ** 0.5 if before is None else before
        # First order in both (the delta method): the ratio new / old.
        radius = normal_quantile(confidence) * hypot(error / old, new * before / old**2)
        low, high = value - radius, value + radius
    return Measurement(name=name, value=value, low=low, high=high, confidence=confidence, **about)


def _error(measured: Measurement) -> float | None:
    if measured.low is None or measured.high is None:
        return None
    return (measured.high - measured.low) / 2 / normal_quantile(measured.confidence)


def judge_quality(
    current: Sequence[Measurement],
    slices: Sequence[Measurement],
    baseline: Sequence[Measurement],
    rule: QualityRule,
    bands: Bands,
) -> Verdict:
    """Whether the newest labelled window is surely worse than the baseline, overall or in a slice.

    "Surely": the change is beyond the first band and its interval excludes none. Slices share the error rate of 5%
    (Bonferroni), so that many of them do not cry wolf.
    """
    overall = relative_drops(current, baseline)
    if not overall:
        return advice(
            QUALITY, Outcome.INCONCLUSIVE, f"quality beside the baseline is unknown: {_why(current, baseline)}"
        )
    enough = [m for m in slices if m.name == "logloss" and m.n >= rule.min_slice_labels]
    apart = relative_drops(enough, baseline, confidence=1 - 0.05 / max(len(enough), 1))
    worst = max((m.value or 0.0) for m in overall)
    shown = ", ".join(f"{m.name} {bounded(m)}" for m in overall)
    seen = f"{shown}; {bands.step(worst, bands.accuracy_drop)} by the bands; {len(apart)} slices compared"
    worse = [m for m in (*overall, *apart) if _surely(m, bands)]
    if not worse:
        return advice(QUALITY, Outcome.SUCCESSFUL, f"not surely worse than the baseline: {seen}", *overall)
    sliced = sorted((m for m in worse if m.slice), key=lambda m: m.value or 0.0, reverse=True)
    where = "".join(f"; {m.name} of {m.slice} {bounded(m)}, n = {m.n}" for m in sliced[:3])
    reason = f"quality is below the baseline: {seen}{where}: no reason to retrain by itself"
    return advice(QUALITY, Outcome.FAILED, reason, *overall, *sliced[:10])


def _surely(drop: Measurement, bands: Bands) -> bool:
    return drop.value is not None and drop.value >= bands.accuracy_drop[0] and drop.low is not None and drop.low > 0


def _why(current: Sequence[Measurement], baseline: Sequence[Measurement]) -> str:
    for which, side in (("", current), ("baseline: ", baseline)):
        measured = [m for m in side if m.name in DROPS and not m.slice]
        if not any(m.value is not None for m in measured):
            return which + next((m.why for m in (*measured, *side) if m.why), "nothing was measured")
    return "the baseline and the window share no measure"
