"""Stopping rules that others use, for comparison on the same streams; no decision of the platform uses them.

Each takes the estimated difference (challenger minus champion, less is better) and its standard error, by stream and
look, and says where it would promote and where it would roll back.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
POCOCK_FIVE = 2.413
"""The two-sided 5% bound of Pocock 1977 (Biometrika 64, table 1) for five equally spaced looks."""


def probability_best(mean: Floats, error: Floats, *, margin: float = 0.0, sure: float = 0.95) -> tuple[Flags, Flags]:
    """P(B is better) above ``sure`` promotes, below ``1 - sure`` rolls back, at each look.

    With a margin: P(B is not worse by more than that).
    """
    z, limit = (margin - mean) / error, NormalDist().inv_cdf(sure)
    return z > limit, z < -limit


def expected_loss(mean: Floats, error: Floats, threshold: float) -> tuple[Flags, Flags]:
    """The version whose expected loss against the other is below the threshold; of two, the one with less."""
    u = mean / error
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    promoted = error * density + mean * normal_cdf(u)
    kept = promoted - mean
    return (promoted < threshold) & (promoted <= kept), (kept < threshold) & (kept < promoted)


def pocock(mean: Floats, error: Floats, *, margin: float) -> tuple[Flags, Flags]:
    """Five equally spaced looks of a test against the margin, two-sided at 5%."""
    looks = mean.shape[-1]
    seen = np.zeros(looks, dtype=bool)
    seen[[round(looks * part / 5) - 1 for part in range(1, 6)]] = True
    z = (mean - margin) / error
    return (z < -POCOCK_FIVE) & seen, (z > POCOCK_FIVE) & seen


def normal_cdf(x: Floats) -> Floats:
    """The standard normal distribution function, by Abramowitz and Stegun 26.2.17 (error below 7.5e-8)."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    terms = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
    tail = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * sum(c * t ** (i + 1) for i, c in enumerate(terms))
    return np.asarray(np.where(x >= 0, 1 - tail, tail))
