"""Intervals by resampling whole blocks of time: rows of one stretch share weather and crowds and are not independent.

After Davison and Hinkley, "Bootstrap Methods and their Application" (1997), ch. 3.8; percentile intervals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

REPLICATES = 200
BLOCK_HOURS = 6
LEAST_BLOCKS = 5
"""With fewer blocks the spread between them is anybody's guess, and no interval is given."""

Interval = tuple[float, float]


def blocks_of(times: npt.NDArray[np.datetime64], hours: int = BLOCK_HOURS) -> npt.NDArray[np.int64]:
    """The number of the block of ``hours`` that each moment falls into, counted from 0 without gaps."""
    stretch = times.astype("datetime64[h]").astype(np.int64) // hours
    return np.unique(stretch, return_inverse=True)[1].astype(np.int64)


def interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    blocks: npt.NDArray[np.int64],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
) -> Interval | None:
    """The percentile interval of ``statistic(rows)`` under resampling of blocks; None with too few of them.

    A replicate whose statistic is not a number (one class only) is left out; None if that leaves less than half.
    """
    members = _members(blocks)
    if len(members) < LEAST_BLOCKS:
        return None
    draws = rng.integers(0, len(members), size=(replicates, len(members)))
    values = np.array([statistic(np.concatenate([members[i] for i in draw])) for draw in draws])
    values = values[np.isfinite(values)]
    if values.size < replicates / 2:
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_interval(
    values: npt.NDArray[np.float64],
    blocks: npt.NDArray[np.int64],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
) -> Interval | None:
    """``interval`` for a mean, from the sums of the blocks: no row is touched again. It holds the mean itself."""
    sums, counts = np.bincount(blocks, weights=values), np.bincount(blocks)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(counts) < LEAST_BLOCKS:
        return None
    draws = rng.integers(0, len(counts), size=(replicates, len(counts)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(values.mean())
    return min(float(low), mean), max(float(high), mean)


def _members(blocks: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(blocks, kind="stable")
    return list(np.split(order, np.cumsum(np.bincount(blocks))[:-1])) if blocks.size else []
