"""Recalibration between retrainings: numbers added to the logit, from the labels known by then.

``fit_shift`` finds one for all rows, which mends a changed base rate; ``fit_slices`` finds also one for each category
of some features, which mends the rates of slices. A few days share their weather, so their rows say less than their
number claims: shifts are drawn towards none by a prior, and newer rows count for more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from modelyard.config.policies import Policy

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_STEPS = 50


class RecalibrationRule(Policy):
    """How a shift is estimated each day, and from which change on it is served.

    ``prior_rows``: how many labelled rows "no shift" is worth, each of the information of a probability of 1/2 (0.25).
    ``settle_hours``: outcomes of younger rows are left out, since the bad ones come last.
    """

    half_life_days: float = Field(default=14, gt=0)
    prior_rows: float = Field(default=4000, ge=0)
    lookback_days: int = Field(default=42, ge=1)
    lead_days: int = Field(default=28, ge=0)
    settle_hours: int = Field(default=12, ge=0)
    serve_from: float = Field(default=0.03, ge=0, description="a smaller change of the shift is not served")


class SliceRule(Policy):
    """How shifts of the categories are estimated, at the start of each week, together with one for all rows.

    ``prior_rows`` is for each category what ``shared_prior_rows`` is for the shift of all rows, and what
    ``RecalibrationRule.prior_rows`` is there. All categorical features of the model take part.
    """

    half_life_days: float = Field(default=28, gt=0)
    shared_prior_rows: float = Field(default=4000, gt=0)
    prior_rows: float = Field(default=300, gt=0)
    lookback_days: int = Field(default=84, ge=1)
    lead_days: int = Field(default=28, ge=0)
    settle_hours: int = Field(default=12, ge=0)


def weights(age_days: Floats, half_life_days: float) -> Floats:
    """What rows of this age count, from 1 for the newest.

    >>> weights(np.array([0.0, 14.0, 28.0]), 14.0).tolist()
    [1.0, 0.5, 0.25]
    """
    return np.asarray(0.5 ** (age_days / half_life_days), dtype=np.float64)


def fit_shift(logit: Floats, label: Floats, weight: Floats, prior_rows: float, start: float = 0.0) -> float:
    """The shift ``b`` that minimises the weighted logloss of ``sigmoid(logit + b)`` plus ``prior_rows * b**2 / 8``.

    Newton's method from ``start``; the loss is convex, so where it starts changes only how long it takes. 0 without
    rows. The prior is needed where labels of one class would send the shift to infinity.
    """
    if not logit.size:
        return 0.0
    shift, prior = start, prior_rows / 4
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(logit + shift, -500, 500)))
        slope = float((weight * (p - label)).sum()) + prior * shift
        bend = float((weight * p * (1 - p)).sum()) + prior
        step = slope / bend if bend > 0 else 0.0
        shift -= float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-9:
            break
    return shift


def fit_slices(
    logit: Floats, columns: Integers, label: Floats, weight: Floats, prior_rows: Floats, start: Floats | None = None
) -> Floats:
    """One shift per column, that together minimise the weighted logloss plus ``prior_rows * shift**2 / 8`` of each.

    ``columns`` is [rows, k]: the k columns that a row belongs to, counted from 0 over all features; its logit is raised
    by the sum of their shifts. ``prior_rows`` is [columns], each above 0: the loss is then strictly convex, and columns
    without rows have no shift. Newton's method from ``start``, each step bounded; [columns].
    """
    size, prior = prior_rows.size, prior_rows / 4
    shift: Floats = np.zeros(size) if start is None else start.copy()
    if not logit.size:
        return np.zeros(size)
    memberships = columns.shape[1]
    pairs = (columns[:, :, None] * size + columns[:, None, :]).ravel()
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(logit + shift[columns].sum(axis=1), -500, 500)))
        slope = np.bincount(columns.ravel(), np.repeat(weight * (p - label), memberships), size) + prior * shift
        bend = np.bincount(pairs, np.repeat(weight * p * (1 - p), memberships**2), size * size).reshape(size, size)
        step = np.linalg.solve(bend + np.diag(prior), slope)
        shift = shift - np.clip(step, -1.0, 1.0)
        if float(np.abs(step).max()) < 1e-7:
            break
    return shift
