"""The difference of the versions' losses on labelled rows, with intervals that hold at every look. Pure.

Names of the measurements:

* ``loss_difference``: mean loss of the challenger minus the champion's, between ends that rest on blocks of time
  (``Quality``), and that are never narrower than those for independent rows. No ends before ``min_blocks`` blocks.
* ``loss_difference_rows``: the same difference, between ends for independent rows; only gross harm is judged by them.
* ``loss_error``: the standard error that the blocks show; ``n`` is the number of blocks.

Paired, a row counts for what both versions scored on it. Unpaired, the versions are compared within each block and each
stage (one split of the traffic), so that neither a change of the base rate nor one of the split looks like a difference
of the versions; a block counts by the harmonic mean of both numbers of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelyard.core.verdict import Measurement
from modelyard.rollout.policy import Metric, Quality
from modelyard.stats.blocks import block_numbers, blocked, student_radius
from modelyard.stats.sequential import robbins_radius

if TYPE_CHECKING:
    import pandas as pd

CLIP = 1e-3
"""Probabilities are clipped to [CLIP, 1 - CLIP] before the logarithm: one row's loss is at most 6.9, so that a single
sure and wrong answer cannot decide a rollout."""

LOSS, LOSS_ROWS, LOSS_ERROR = "loss_difference", "loss_difference_rows", "loss_error"
STAGE = "stage"
"""A column of the frame: in which stage a row was answered; without it, all rows are of one."""

_UNITS = {"logloss": "nats", "brier": "", "accuracy": ""}
Floats = NDArray[np.float64]
Thresholds = Mapping[str, float]
"""By variant: the probability from which on it answers yes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger minus champion. ``variance`` is that of one of ``n`` rows if rows were independent; ``error`` is the
    standard error that ``blocks`` blocks show (infinite for one), ``effective`` their number were they of one size."""

    mean: float
    variance: float
    n: int
    error: float
    effective: float
    blocks: int

    @property
    def design_effect(self) -> float:
        """How many times the mean varies as much as with independent rows; as noisy as blocks are few."""
        return self.n * self.error**2 / self.variance if self.variance > 0 else 1.0


def loss_difference(
    frame: pd.DataFrame, quality: Quality, *, paired: bool, thresholds: Thresholds | None = None
) -> tuple[Measurement, ...]:
    """The three measurements; the first alone, without a value, while there is nothing to compare.

    Each end holds alone at a level of ``alpha``. A key that was asked about several times counts once, with its first
    answer. With the metric ``accuracy`` the loss is 1 for a wrong answer, by each version's own threshold (.5 where
    none is given). The order of the rows does not matter.
    """
    labelled = frame[frame["label"].notna() & frame["score"].notna()].drop_duplicates("key")
    if paired:
        labelled = labelled[labelled["other_score"].notna()]
    compare = _paired if paired else _unpaired
    moments = labelled["event_time"].to_numpy("datetime64[us]")
    numbers = block_numbers(moments, quality.block_hours, quality.block_start_hour)
    return measurements(compare(labelled, numbers, quality, thresholds or {}), len(labelled), quality)


def measurements(found: Difference | None, labelled: int, quality: Quality) -> tuple[Measurement, ...]:
    """The measurements of a difference; ``labelled`` rows were there to find it in."""
    if found is None or found.n < 2 or (found.variance == 0.0 and found.mean != 0.0):
        return (Measurement(name=LOSS, value=None, n=labelled, why=f"{labelled} labelled rows are no evidence yet"),)
    by_rows = robbins_radius(found.n, sqrt(found.variance), 2 * quality.alpha, n_opt=quality.min_rows)
    radius = block_radius(found, by_rows, quality)
    each = {"value": found.mean, "n": found.n, "confidence": 1 - 2 * quality.alpha, "unit": _UNITS[quality.metric]}
    return (
        Measurement.model_validate({"name": LOSS, "evidence": _said(found, quality), **each, **_ends(found, radius)}),
        Measurement.model_validate({"name": LOSS_ROWS, **each, **_ends(found, by_rows)}),
        _error(found, quality),
    )


def block_radius(found: Difference, by_rows: float, quality: Quality) -> float | None:
    """Half the width of the interval by blocks, never less than ``by_rows``; None while blocks are too few for one."""
    if found.blocks < quality.min_blocks:
        return None
    given = {"alpha": 2 * quality.alpha, "correlation": quality.block_correlation}
    radius = float(student_radius(found.error, found.effective, **given))
    return max(radius, by_rows) if isfinite(radius) else None


def _ends(found: Difference, radius: float | None) -> dict[str, float]:
    return {} if radius is None else {"low": found.mean - radius, "high": found.mean + radius}


def _said(found: Difference, quality: Quality) -> str:
    said = f"{found.blocks} blocks of {quality.block_hours:g} h"
    return f"{said}, design effect {found.design_effect:.1f}" if isfinite(found.error) else said


def _error(found: Difference, quality: Quality) -> Measurement:
    given = {"name": LOSS_ERROR, "n": found.blocks, "unit": _UNITS[quality.metric]}
    known = {"value": found.error} if isfinite(found.error) else {"value": None, "why": "one block shows no error"}
    return Measurement.model_validate(given | known)


def losses(metric: Metric, scores: Floats, labels: Floats, thresholds: Floats) -> Floats:
    """The loss of each row; logloss with clipped probabilities."""
    match metric:
        case "logloss":
            p = np.clip(scores, CLIP, 1 - CLIP)
            return np.asarray(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
        case "brier":
            return np.asarray((scores - labels) ** 2)
        case "accuracy":
            return np.asarray(((scores >= thresholds) != (labels == 1)).astype(float))


def _losses(frame: pd.DataFrame, column: str, metric: Metric, thresholds: Floats) -> Floats:
    return losses(metric, frame[column].to_numpy(dtype=float), frame["label"].to_numpy(dtype=float), thresholds)


def _paired(frame: pd.DataFrame, numbers: NDArray[np.int64], quality: Quality, by: Thresholds) -> Difference | None:
    theirs = frame["variant"].to_numpy() == "challenger"
    new, old = (by.get(variant, 0.5) for variant in ("challenger", "champion"))
    answered = _losses(frame, "score", quality.metric, np.where(theirs, new, old))
    other = _losses(frame, "other_score", quality.metric, np.where(theirs, old, new))
    return paired(np.where(theirs, 1.0, -1.0) * (answered - other), numbers)


def paired(values: Floats, numbers: NDArray[np.int64]) -> Difference | None:
    """The difference from each row's own, and the block that it lies in; None without rows."""
    if not len(values):
        return None
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return _of_blocks(np.bincount(numbers), np.bincount(numbers, values), variance, len(values))


def _of_blocks(weights: ArrayLike, totals: NDArray[Any], variance: float, n: int) -> Difference:
    found = blocked(weights, totals)
    return Difference(
        mean=float(found.mean),
        variance=variance,
        n=n,
        error=float(found.error),
        effective=float(found.effective),
        blocks=len(totals),
    )


def _unpaired(frame: pd.DataFrame, numbers: NDArray[np.int64], quality: Quality, by: Thresholds) -> Difference | None:
    theirs = frame["variant"].to_numpy() == "challenger"
    threshold = np.where(theirs, *(by.get(variant, 0.5) for variant in ("challenger", "champion")))
    stage = frame[STAGE].to_numpy() if STAGE in frame else np.zeros(len(frame))
    return unpaired(_losses(frame, "score", quality.metric, threshold), theirs, numbers, stage)


def unpaired(
    values: Floats, theirs: NDArray[np.bool_], numbers: NDArray[np.int64], stage: NDArray[np.generic]
) -> Difference | None:
    """The difference from each row's own loss, whose it was, its block and its stage; None unless both versions have
    two rows where both answered."""
    cells, place = np.unique(np.stack([numbers, stage.astype(np.int64)]), axis=1, return_inverse=True)
    new, old = (_by_cell(place[arm], values[arm], cells.shape[1]) for arm in (theirs, ~theirs))
    both = (new[0] > 0) & (old[0] > 0)
    new, old = new[:, both], old[:, both]
    n = int(min(new[0].sum(), old[0].sum()))
    if n < 2:
        return None
    weight = new[0] * old[0] / (new[0] + old[0])
    apart = new[1] / new[0] - old[1] / old[0]
    of_mean = float((weight**2 * (_within(new) / new[0] + _within(old) / old[0])).sum() / weight.sum() ** 2)
    block = np.unique(cells[0, both], return_inverse=True)[1]
    return _of_blocks(np.bincount(block, weight), np.bincount(block, weight * apart), n * of_mean, n)


def _by_cell(place: NDArray[np.int64], values: Floats, cells: int) -> Floats:
    """Number, sum and sum of squares by cell."""
    return np.stack([np.bincount(place, each, cells) for each in (np.ones(len(values)), values, values**2)])


def _within(arm: Floats) -> float:
    """The variance of one row within its cell, over all cells."""
    count, total, squares = arm
    return float(max((squares - total**2 / count).sum(), 0.0) / max(count.sum() - len(count), 1.0))
