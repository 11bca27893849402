"""Area under the ROC curve with its standard error, for one scorer or for two on the same rows.

DeLong, DeLong, Clarke-Pearson 1988, "Comparing the areas under two or more correlated receiver operating
characteristic curves", Biometrics 44; computed by midranks after Sun and Xu 2014, IEEE Signal Processing Letters 21.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelyard.stats.intervals import Interval, normal_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float

    def interval(self, confidence: float = 0.95) -> Interval:
        """The normal interval."""
        radius = normal_quantile(confidence) * self.error
        return self.value - radius, self.value + radius


def auc(labels: ArrayLike, scores: ArrayLike) -> Estimate:
    """The probability that a positive scores above a negative (ties count half).

    Both parts are NaN when a class is absent; the error is NaN when a class has a single row.

    Raises:
        ValueError: lengths differ, a label is not 0 or 1, or a score is not finite.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value
    0.75
    """
    places = _placements(labels, scores)
    return Estimate(_area(places), sqrt(_covariance(places, places)))


def auc_difference(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> Estimate:
    """AUC of ``first`` minus AUC of ``second`` on the same rows, with the error of the paired difference."""
    a, b = _placements(labels, first), _placements(labels, second)
    variance = _covariance(a, a) + _covariance(b, b) - 2 * _covariance(a, b)
    return Estimate(_area(a) - _area(b), sqrt(max(variance, 0.0)) if variance == variance else nan)


def _placements(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Per positive the share of negatives below it, per negative the share of positives above it."""
    truth, values = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise ValueError(f"labels and scores must be equally long, got {truth.shape} and {values.shape}")
    if not np.isin(truth, (0.0, 1.0)).all() or not np.isfinite(values).all():
        raise ValueError("labels must be 0 or 1 and scores finite")
    positive, negative = values[truth == 1], values[truth == 0]
    if not positive.size or not negative.size:
        return np.full(positive.size, nan), np.full(negative.size, nan)
    ranks = _midranks(np.concatenate([positive, negative]))
    above = (ranks[: positive.size] - _midranks(positive)) / negative.size
    below = 1 - (ranks[positive.size :] - _midranks(negative)) / positive.size
    return above, below


def _midranks(values: Floats) -> Floats:
    ordered = np.sort(values)
    first, last = np.searchsorted(ordered, values, side="left"), np.searchsorted(ordered, values, side="right")
    return (first + last + 1) / 2.0


def _area(places: tuple[Floats, Floats]) -> float:
    return float(places[0].mean()) if places[0].size and places[1].size else nan


def _covariance(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> float:
    if min(a[0].size, a[1].size) < 2:
        return nan
    return sum(float(np.cov(x, y)[0, 1]) / x.size for x, y in zip(a, b, strict=True))
