"""Concept drift: how good the answers were, from the prediction log and the labels that came later.

A label that has not come is no evidence of anything: it is counted, said, and never taken for "fine".
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelyard.core.value import Digest
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.stats.intervals import Interval, mean_interval, normal_quantile, wilson
from modelyard.stats.ranking import auc

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

NAMES = ("calibration_gap", "observed_rate", "logloss", "accuracy", "auc")
"""What is measured on labelled rows."""

_TINY = 1e-15
_MIN_DAYS = 3


def measure_quality(
    joined: pd.DataFrame,
    *,
    window: Window,
    threshold: float = 0.5,
    min_labels: int = 1,
    subject: Digest | None = None,
    variant: str = "",
) -> tuple[Measurement, ...]:
    """``requests``, ``label_coverage`` and, on the labelled rows, ``NAMES`` with 95% intervals.

    ``joined`` has ``event_time``, ``score`` and ``label`` (NaN while unknown). The calibration gap is the mean
    prediction minus the observed rate: positive when the model warns too often. With fewer than ``min_labels``
    labelled rows the measurements have no value and say why.
    """
    labels = joined["label"].to_numpy(dtype=np.float64, na_value=np.nan)
    scores = joined["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    usable = np.isfinite(scores) & np.isin(labels, (0.0, 1.0))
    n = int(usable.sum())

    def measured(
        name: str, value: float | None, low: float | None, high: float | None, why: str, rows: int
    ) -> Measurement:
        return Measurement(
            name=name, value=value, low=low, high=high, n=rows, why=why, window=window, subject=subject, variant=variant
        )

    total = len(joined)
    coverage = n / total if total else None
    found = [
        measured("requests", float(total), None, None, "", total),
        measured("label_coverage", coverage, None, None, "" if total else "no request in the window", total),
    ]
    why = _why_not(n, total, min_labels)
    days = joined["event_time"].to_numpy(dtype="datetime64[D]")[usable]
    values = {} if why else _quality(labels[usable], scores[usable], days, threshold)
    for name in NAMES:
        value, low, high = values.get(name, (None, None, None))
        missing = "" if value is not None else why or "all labels are of one class"
        found.append(measured(name, value, low, high, missing, n))
    return tuple(found)


def _why_not(n: int, total: int, min_labels: int) -> str:
    if not total:
        return "no request in the window"
    if not n:
        return f"no label has come yet for any of {total} requests"
    return f"{n} labels have come for {total} requests; the policy asks for {min_labels}" if n < min_labels else ""


def _quality(
    labels: Floats, scores: Floats, days: NDArray[np.datetime64], threshold: float
) -> dict[str, tuple[float, float | None, float | None]]:
    n = labels.size
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    losses = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    hits = int(((scores >= threshold) == (labels == 1)).sum())
    positives = int(labels.sum())
    values: dict[str, tuple[float, float | None, float | None]] = {
        "calibration_gap": _bounded(float((scores - labels).mean()), clustered(scores - labels, days)),
        "observed_rate": _bounded(positives / n, wilson(positives, n)),
        "logloss": _bounded(float(losses.mean()), clustered(losses, days)),
        "accuracy": _bounded(hits / n, wilson(hits, n)),
    }
    area = auc(labels, scores)
    if isfinite(area.value):
        values["auc"] = _bounded(area.value, area.interval() if isfinite(area.error) else (-np.inf, np.inf))
    return values


def clustered(values: Floats, days: NDArray[np.datetime64], confidence: float = 0.95) -> Interval:
    """A normal interval for the mean when rows of one day resemble each other (delays come in bad days).

    Cluster-robust variance of a ratio of sums (Cochran 1977, "Sampling Techniques", 9A); with fewer than three days
    rows are taken as independent, which is then the only thing left to do.
    """
    mean = float(values.mean())
    _, day = np.unique(days, return_inverse=True)
    clusters = int(day.max()) + 1
    if clusters < _MIN_DAYS:
        return mean_interval(mean, float(values.var(ddof=1)) if values.size > 1 else 0.0, values.size, confidence)
    residuals = np.bincount(day, weights=values - mean)
    variance = clusters / (clusters - 1) * float((residuals**2).sum()) / values.size**2
    radius = normal_quantile(confidence) * float(np.sqrt(variance))
    return mean - radius, mean + radius


def _bounded(value: float, interval: Interval) -> tuple[float, float | None, float | None]:
    low, high = (float(end) if isfinite(end) else None for end in interval)
    return value, low, high
