"""How much better a challenger is, as bounds that hold however often one looks. Pure; for ``policy.FastTrack``.

Only lower ends are meant to be used, each at the one-sided level ``alpha``. All three gains must be shown, so no level
is shared among them: a version that lacks one of them passes with probability at most ``alpha`` (intersection-union).

Names: ``accuracy_gain``, ``error_gain``, ``latency_gain``. Positive is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, inf, isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout.evidence import Thresholds, loss_difference
from modelyard.rollout.policy import FastTrack, Quality
from modelyard.stats.sequential import confidence_sequence, robbins_radius

if TYPE_CHECKING:
    import pandas as pd

P95 = 0.95
Bounds = tuple[float, float, float]
"""Low, middle, high."""


def accuracy_gain(
    frame: pd.DataFrame, quality: Quality, track: FastTrack, thresholds: Thresholds, *, paired: bool
) -> Measurement:
    """The challenger's accuracy on labelled rows minus the champion's."""
    asked = quality.model_copy(update={"metric": "accuracy", "min_rows": track.min_rows})
    loss = loss_difference(frame, asked, paired=paired, thresholds=thresholds)
    if loss.value is None or loss.low is None or loss.high is None:
        return Measurement(name="accuracy_gain", value=None, n=loss.n, why=loss.why)
    return _gain("accuracy_gain", (-loss.high, -loss.value, -loss.low), loss.n, quality)


def error_gain(states: Mapping[str, ReplicaState], quality: Quality, track: FastTrack) -> Measurement:
    """The champion's error rate minus the challenger's, since the rollout began."""
    challenger, n = _error_rate("challenger", states, quality.alpha, track.min_rows)
    champion, m = _error_rate("champion", states, quality.alpha, track.min_rows)
    gain = (champion[0] - challenger[2], champion[1] - challenger[1], champion[2] - challenger[0])
    return _gain("error_gain", gain, min(n, m), quality)


def latency_gain(challenger: pd.DataFrame, champion: pd.DataFrame, quality: Quality, track: FastTrack) -> Measurement:
    """The share by which the challenger's p95 latency lies below the champion's."""
    new, old = (frame["latency_ms"].to_numpy(dtype=float) for frame in (challenger, champion))
    n = min(len(new), len(old))
    if not n:
        return Measurement(name="latency_gain", value=None, why="no rows of both yet")
    (low, mid, high), (base_low, base, base_high) = (_p95(v, quality.alpha, track.min_rows) for v in (new, old))
    if not base_low > 0:
        return Measurement(name="latency_gain", value=None, n=n, why=f"{n} rows bound no p95")
    return _gain("latency_gain", (1 - high / base_low, 1 - mid / base, 1 - low / base_high), n, quality)


def _gain(name: str, bounds: Bounds, n: int, quality: Quality) -> Measurement:
    low, mid, high = bounds
    if not (isfinite(low) and isfinite(high)):
        return Measurement(name=name, value=None, n=n, why=f"{n} rows bound nothing yet")
    return Measurement(name=name, value=mid, n=n, low=low, high=high, confidence=1 - 2 * quality.alpha)


def _error_rate(variant: str, states: Mapping[str, ReplicaState], alpha: float, n_opt: int) -> tuple[Bounds, int]:
    """Each end at one-sided level ``alpha / 2``: the difference of two versions has ``alpha``."""
    counts = [state.counts.get(variant, {}) for state in states.values()]
    n, failed = (int(sum(c.get(key, 0) for c in counts)) for key in ("rows", "errors"))
    if not n:
        return (-inf, 0.0, inf), 0
    rate, smooth = failed / n, (failed + 1) / (n + 2)
    # The variance of a rate slightly off: none at all would follow from no failure yet, and bound it by zero.
    low, high = confidence_sequence(rate, smooth * (1 - smooth), n, alpha, n_opt=n_opt)
    return (low, rate, high), n


def _p95(values: NDArray[np.float64], alpha: float, n_opt: int) -> Bounds:
    """The order statistics whose ranks bound the share of values below the true p95, at ``alpha / 2`` each."""
    n, ordered = len(values), np.sort(values)
    radius = robbins_radius(n, (P95 * (1 - P95)) ** 0.5, alpha, n_opt=n_opt)
    below, above = (floor(n * (P95 - radius)) - 1, ceil(n * (P95 + radius)) - 1) if radius < 1 else (-1, n)
    low = float(ordered[below]) if below >= 0 else 0.0
    high = float(ordered[above]) if above < n else inf
    return low, float(ordered[ceil(n * P95) - 1]), high
