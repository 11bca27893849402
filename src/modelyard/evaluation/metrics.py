"""Metrics of a binary forecast, in numpy. All take labels 0/1 and probabilities, and treat ties fairly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Metric = Callable[[Floats, Floats], float]

CLIP = 1e-7
"""A forecast of exactly 0 or 1 that is wrong would cost infinitely much; it is cut here."""
BINS = 10


def losses(label: Floats, p: Floats) -> Floats:
    """The log loss of each row, in nats."""
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-(label * np.log(q) + (1 - label) * np.log1p(-q)), dtype=np.float64)


def logloss(label: Floats, p: Floats) -> float:
    """The mean log loss; lower is better.

    >>> round(logloss(np.array([1.0, 0.0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    return float(losses(label, p).mean())


def brier(label: Floats, p: Floats) -> float:
    """The mean squared error of the probability (Brier 1950); lower is better."""
    return float(np.square(p - label).mean())


def accuracy(label: Floats, p: Floats, threshold: float = 0.5) -> float:
    """The share of rows on the right side of the threshold."""
    return float(((p >= threshold) == (label > 0.5)).mean())


def auc(label: Floats, p: Floats) -> float:
    """The chance that a positive row scores higher than a negative one, ties half (Hanley and McNeil 1982).

    NaN when one class is absent: there is nothing to rank.

    >>> auc(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.4]))
    0.75
    """
    positives = int((label > 0.5).sum())
    negatives = label.size - positives
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[label > 0.5].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_gap(label: Floats, p: Floats) -> float:
    """Mean forecast minus observed rate: above 0 the model says it too often."""
    return float(p.mean() - label.mean())


def ece(label: Floats, p: Floats, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal numbers of rows (Naeini et al. 2015, with quantile bins)."""
    parts = np.array_split(np.argsort(p, kind="stable"), min(bins, p.size))
    return float(sum(abs(p[i].sum() - label[i].sum()) for i in parts) / p.size)


METRICS: dict[str, Metric] = {
    "auc": auc,
    "logloss": logloss,
    "brier": brier,
    "accuracy": accuracy,
    "ece": ece,
    "calibration_gap": calibration_gap,
}
"""What is measured of every release, by name."""
