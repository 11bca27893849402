"""Our detectors and Evidently's on streams with known answers: a score for each stream and each day from the onset on.

All look once a day, at its end, at the last week. Inputs are compared with the reference: ours by profiles, of which
the reference's weeks give each stream a threshold of its own (a score is then a multiple of it), Evidently's by its own
functions on the raw values, the very ones that its reports call. Answers are judged by the governor's checks, or their
gaps are added up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd
from _detection import Floats, at_window_end
from _streams import WEEK, Columns, Plan

from modelyard.core.profile import FeatureProfile
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.bands import Bands
from modelyard.drift.concept import relative_drops
from modelyard.drift.counts import count
from modelyard.drift.cusum import two_sided
from modelyard.drift.distances import jensen_shannon, kolmogorov, psi, wasserstein
from modelyard.drift.edges import fit_profile
from modelyard.drift.policy import CalibrationRule, Windows
from modelyard.drift.quality import clustered, measure_quality
from modelyard.drift.thresholds import NOTHING, Distance, fit_thresholds

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
FEATURE = "value"

Scores = dict[str, Floats]
"""By detector: scores ``[days from the onset on]`` of one stream, or ``[streams, days]`` of many."""


@dataclass(frozen=True, slots=True)
class Detector:
    """``default``: the level that it comes with. ``resets``: it starts afresh after an alarm."""

    name: str
    default: float
    resets: bool = False

    def alarms(self, scores: Floats, level: float) -> Floats:
        """Alarms at this level; of a CUSUM the scores are what it adds up."""
        return _restarting(scores, level) if self.resets else at_window_end(scores, level)


@dataclass(frozen=True, slots=True)
class Group:
    """Detectors that are scored together."""

    who: str
    detectors: tuple[Detector, ...]
    scores: Callable[[Columns, Plan], Scores]

    def scored(self, streams: Columns, plan: Plan) -> Scores:
        """The scores of many streams."""
        n = len(next(iter(streams.values())))
        each = [self.scores({k: v[i] for k, v in streams.items()}, plan) for i in range(n)]
        return {d.name: np.stack([scores[d.name] for scores in each]) for d in self.detectors}


def _windows(values: Floats, plan: Plan) -> Iterator[Floats]:
    """The rows of the last week, for each day from the onset on."""
    return (values[day + 1 - WEEK : day + 1].ravel() for day in range(plan.onset, len(values)))


def _profiled(columns: Columns, plan: Plan) -> Scores:
    """Distances from the reference, as multiples of the thresholds that its weeks give, and the PSI as it is."""
    values = columns[FEATURE]
    known = values[: plan.reference]
    reference = fit_profile(_frame(known.ravel()), numeric=[FEATURE])
    weeks = [count(reference, _frame(known[day : day + WEEK].ravel())) for day in range(0, len(known), WEEK)]
    windows = [count(reference, _frame(rows)).feature(FEATURE) for rows in _windows(values, plan)]
    found = {}
    for name, distance in DISTANCES.items():
        scores = np.array([distance(reference.feature(FEATURE), window) for window in windows], dtype=np.float64)
        thresholds = fit_thresholds(weeks, distance=distance, least=NOTHING if distance is psi else 0.0)
        found[name] = scores / (thresholds.measurements([FEATURE])[0].value or np.nan)
        if name == "PSI":
            found["PSI, fixed bound"] = scores
    return found


def _frame(values: Floats) -> pd.DataFrame:
    return pd.DataFrame({FEATURE: values})


def _ks(reference: FeatureProfile, current: FeatureProfile) -> float | None:
    bounds = kolmogorov(reference, current)
    return bounds.low if bounds else None


DISTANCES: dict[str, Distance] = {"PSI": psi, "Jensen-Shannon": jensen_shannon, "Wasserstein": wasserstein, "KS": _ks}


def _evidently(columns: Columns, plan: Plan, *, methods: dict[str, tuple[str, str]]) -> Scores:
    """Evidently's scores by method and signal; p values as their -log10, so that more is always further apart."""
    os.environ["DO_NOT_TRACK"] = "true"
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType

    signals, found = dict(columns), {}
    if "score" in columns:
        signals["residual"] = columns["score"] - columns["label"]
    for name, (method, signal) in methods.items():
        kind = ColumnType.Categorical if signal == "label" else ColumnType.Numerical
        reference = pd.Series(signals[signal][: plan.reference].ravel())
        test = get_stattest(reference, reference, kind, method)
        windows = _windows(signals[signal], plan)
        scores = np.array([test.func(reference, pd.Series(rows), kind, 0.0)[0] for rows in windows], dtype=np.float64)
        found[name] = -np.log10(np.maximum(scores, 1e-300)) if method == "ks" else scores
    return found


def _gap_in_force(columns: Columns, plan: Plan) -> Floats:
    """The gap that ``Windows.needed`` of the last weeks are surely beyond, on one side: the governor's rule.

    The rule fails where this is above ``CalibrationRule.retrain_above``.
    """
    residual = columns["score"] - columns["label"]
    day = np.repeat(np.arange(WEEK), residual.shape[1]).astype("datetime64[D]")
    above, below = [], []
    for rows in _windows(residual, plan):
        mean, (low, high) = float(rows.mean()), clustered(rows, day)
        above.append(mean if low > 0 else 0.0)
        below.append(-mean if high < 0 else 0.0)
    return np.maximum(_agreed(above), _agreed(below))


def _agreed(gaps: list[float]) -> Floats:
    """What ``needed`` of the last ``count`` windows reach. The windows before the onset count as being in order."""
    rule = Windows()
    padded = np.concatenate([np.zeros(rule.count - 1), gaps])
    return np.sort(np.lib.stride_tricks.sliding_window_view(padded, rule.count), axis=1)[:, -rule.needed]


def _daily_gaps(columns: Columns, plan: Plan) -> Floats:
    """Each day's gap in standard deviations of the reference's days."""
    gaps = (columns["score"] - columns["label"]).mean(axis=1)
    known = gaps[: plan.reference]
    return np.asarray(gaps[plan.onset :] / known.std(ddof=1))


ALLOWANCE, BOUND = 0.5 / WEEK**0.5, 2.0 * WEEK**0.5
"""Half a standard deviation of a week, and two of them (``flows/replay/policies.py``), for days that are added up."""


def _restarting(gaps: Floats, bound: float) -> Floats:
    found = np.full(gaps.shape, np.nan)
    for stream, values in enumerate(gaps):
        start = 0
        while start < len(values):
            above = np.array(two_sided(values[start:], ALLOWANCE)) > bound
            if not above.any():
                break
            start += int(above.argmax())
            found[stream, start] = 1.0
            start += 1
    return found


def _quality(columns: Columns, plan: Plan) -> Floats:
    """By how many half-widths of its 95% interval the worst measure is down, where it is down by the first band.

    The check ``quality`` fails, without slices, where this is above 1.
    """
    baseline = _measured(columns, 0, plan.reference)
    floor, found = Bands().accuracy_drop[0], []
    for day in range(plan.onset, len(columns["score"])):
        drops = relative_drops(_measured(columns, day + 1 - WEEK, day + 1), baseline)
        found.append(max((_in_half_widths(drop) for drop in drops if (drop.value or 0) >= floor), default=0.0))
    return np.array(found)


def _in_half_widths(drop: Measurement) -> float:
    if drop.value is None or drop.low is None or drop.high is None or drop.high == drop.low:
        return 0.0
    return 2 * drop.value / (drop.high - drop.low)


def _measured(columns: Columns, first: int, last: int) -> tuple[Measurement, ...]:
    rows = columns["score"].shape[1]
    days = np.repeat(np.arange(first, last), rows).astype("timedelta64[D]")
    times = np.datetime64(BEGIN.replace(tzinfo=None), "us") + days
    parts = {name: columns[name][first:last].ravel() for name in ("score", "label")}
    window = Window(start=BEGIN + timedelta(days=first), end=BEGIN + timedelta(days=last))
    return measure_quality(pd.DataFrame({"event_time": times, **parts}), window=window)


def _governed(columns: Columns, plan: Plan) -> Scores:
    return {
        "calibration gap": _gap_in_force(columns, plan),
        "gap CUSUM": _daily_gaps(columns, plan),
        "quality": _quality(columns, plan),
    }


P_VALUE = float(-np.log10(0.05))

_ON_INPUTS = {
    "PSI": ("psi", FEATURE),
    "Jensen-Shannon": ("jensenshannon", FEATURE),
    "Wasserstein": ("wasserstein", FEATURE),
    "KS": ("ks", FEATURE),
}
_ON_ANSWERS = {
    "Jensen-Shannon, labels": ("jensenshannon", "label"),
    "Wasserstein, residuals": ("wasserstein", "residual"),
}

GROUPS = {
    "inputs": (
        Group("Modelyard", (*(Detector(n, 1.0) for n in DISTANCES), Detector("PSI, fixed bound", 0.2)), _profiled),
        Group(
            "Evidently",
            tuple(Detector(n, P_VALUE if n == "KS" else 0.1) for n in _ON_INPUTS),
            partial(_evidently, methods=_ON_INPUTS),
        ),
    ),
    "answers": (
        Group(
            "Modelyard",
            (
                Detector("calibration gap", CalibrationRule().retrain_above),
                Detector("gap CUSUM", BOUND, resets=True),
                Detector("quality", 1.0),
            ),
            _governed,
        ),
        Group("Evidently", tuple(Detector(n, 0.1) for n in _ON_ANSWERS), partial(_evidently, methods=_ON_ANSWERS)),
    ),
}
"""By kind of streams. The first detector of each kind is the one in force."""
