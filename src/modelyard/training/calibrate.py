"""Platt scaling by Newton's method, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modelyard.release.encode import probability
from modelyard.release.signature import Calibration

_STEPS = 50
_RIDGE = 1e-3
_LEAST_SLOPE = 0.05


def fit_platt(logit: npt.NDArray[np.float64], label: npt.NDArray[np.float64], *, shrinkage: float = 0.0) -> Calibration:
    """Fit ``p = sigmoid(a * logit + b)`` by maximum likelihood, then move it by ``shrinkage`` towards a = 1, b = 0.

    A few days share their weather, so their rows say far less about next week than their number claims; ``shrinkage``
    (0: plain Platt, 1: none of it) allows for that. With labels of one class there is nothing to learn from, and the
    identity is kept. A slope that is not positive would turn the ranking round; it is bounded below.

    After Platt, "Probabilistic outputs for support vector machines" (1999), a weak prior in place of smoothed targets.
    """
    if label.size == 0 or label.min() == label.max():
        return Calibration(a=1.0, b=0.0)
    theta = np.array([1.0, 0.0])
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    prior = _RIDGE * label.size / 1000 + _RIDGE
    for _ in range(_STEPS):
        p = probability(design @ theta, Calibration(a=1.0, b=0.0))
        gradient = design.T @ (p - label) + prior * (theta - [1.0, 0.0])
        hessian = (design * (p * (1 - p))[:, None]).T @ design + prior * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step
        if np.abs(step).max() < 1e-10:
            break
    slope, shift = theta * (1 - shrinkage) + np.array([1.0, 0.0]) * shrinkage
    return Calibration(a=max(float(slope), _LEAST_SLOPE), b=float(shift))
