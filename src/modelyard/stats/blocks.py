"""A mean of rows that share something by blocks (a day's weather), with an interval that bears repeated looks.

Rows of one block are no independent evidence, blocks nearly are: the mean's error is estimated from the blocks' totals
(the cluster-robust variance of a ratio, Liang and Zeger 1986, Biometrika 73), with the correction for few clusters.
Blocks are few and their spread is estimated, so Robbins' sequence with a plug-in variance would be far too narrow. The
sequence here is Lai's for normal values of unknown variance (Lai 1976, Annals of Statistics 4; in the form of Wang and
Ramdas 2025, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance", Sequential
Analysis 44): the likelihood ratio against normal effects, mixed over the scale. It is exact for independent normal
blocks of equal size; for others it is as good as the simulation in docs/rollout.md shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
HOUR_US = 3_600_000_000
EFFECT = 1.0
"""The spread of the effects that the mixture expects, in standard deviations of a block. It changes widths only; the
sequence is narrowest, as a multiple of the error, near twenty blocks."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A weighted mean over blocks. ``error``: its standard error; infinite with fewer than two blocks' worth.

    ``effective`` counts the blocks as if they were of one size: (sum of weights)^2 / sum of squares.
    """

    mean: Any
    error: Any
    effective: Any


def block_numbers(moments: NDArray[np.datetime64], hours: float, start_hour: float = 0.0) -> NDArray[np.int64]:
    """The block of ``hours`` that each moment (UTC) lies in, from 0 without gaps. Blocks begin at ``start_hour``.

    >>> block_numbers(np.array(["2013-04-09T08", "2013-04-09T09", "2013-04-12T08"], dtype="datetime64[us]"), 24, 9)
    array([0, 1, 2])
    """
    since = moments.astype("datetime64[us]").astype(np.int64) - round(start_hour * HOUR_US)
    return np.unique(since // round(hours * HOUR_US), return_inverse=True)[1].astype(np.int64)


def blocked(weights: ArrayLike, totals: ArrayLike) -> Blocked:
    """The mean of blocks with these weights (rows) and totals (sums of the rows' values), along the last axis."""
    w, t = np.asarray(weights, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    return from_sums(w.sum(-1), t.sum(-1), (w**2).sum(-1), (w * t).sum(-1), (t**2).sum(-1))


def from_sums(w: ArrayLike, t: ArrayLike, ww: ArrayLike, wt: ArrayLike, tt: ArrayLike) -> Blocked:
    """The same from sums over blocks of weight, total, weight^2, weight * total and total^2; elementwise.

    Raises:
        ValueError: a sum of weights is not positive.
    """
    w, t, ww, wt, tt = (np.asarray(each, dtype=np.float64) for each in (w, t, ww, wt, tt))
    if not (w > 0).all():
        raise ValueError("every sum of weights must be positive")
    mean, effective = t / w, w**2 / ww
    spread = np.maximum(tt - 2 * mean * wt + mean**2 * ww, 0.0) / w**2
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(effective > 1 + 1e-9, np.sqrt(spread * effective / (effective - 1)), np.inf)
    return Blocked(mean, error, effective)


def student_radius(error: ArrayLike, effective: ArrayLike, alpha: float, *, correlation: float = 0.0) -> Floats:
    """Half the width of the sequence (two-sided, level ``alpha``), elementwise; infinite while blocks are too few.

    ``correlation`` is that of neighbouring blocks, fading geometrically: the mean of many such blocks varies
    (1 + c) / (1 - c) times as much as that of independent ones.

    Raises:
        ValueError: alpha is not strictly between 0 and 1, or the correlation not in [0, 1).

    >>> student_radius(0.004, [4, 7, 14, 28], 0.05).round(4).tolist()
    [inf, 0.0186, 0.0143, 0.0134]
    """
    if not 0 < alpha < 1 or not 0 <= correlation < 1:
        raise ValueError(f"alpha must lie in (0, 1) and the correlation in [0, 1), got {alpha!r} and {correlation!r}")
    e, n = np.asarray(error, dtype=np.float64), np.asarray(effective, dtype=np.float64)
    grown = ((n + EFFECT) / (EFFECT * alpha**2)) ** (1 / n)
    room = n + EFFECT - grown * EFFECT
    with np.errstate(divide="ignore", invalid="ignore"):
        multiple = np.where(room > 0, np.sqrt((n - 1) * (n + EFFECT) * (grown - 1) / room), np.inf)
        radius = e * multiple * np.sqrt((1 + correlation) / (1 - correlation))
    return np.asarray(np.where(np.isfinite(multiple), radius, np.inf), dtype=np.float64)
