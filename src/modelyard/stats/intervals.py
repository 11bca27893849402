"""Fixed-sample intervals for shares and means. For repeated looks use ``stats.sequential``."""

from __future__ import annotations

from math import inf, isfinite, sqrt
from statistics import NormalDist

Interval = tuple[float, float]


def normal_quantile(confidence: float) -> float:
    """The two-sided standard normal quantile.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence!r}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a share (Wilson 1927, JASA 22). Without trials it is (0, 1): nothing is known.

    >>> low, high = wilson(0, 100)
    >>> low, round(high, 3)
    (0.0, 0.037)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z2 = normal_quantile(confidence) ** 2
    share = successes / trials
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    radius = sqrt(z2) * sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # At the ends the closed form is exact but for rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - radius)
    high = 1.0 if successes == trials else min(1.0, centre + radius)
    return low, high


def mean_interval(mean: float, variance: float, n: int, confidence: float = 0.95) -> Interval:
    """The normal interval for the mean of ``n`` independent values; infinite with fewer than two.

    >>> mean_interval(1.0, 4.0, 1)
    (-inf, inf)
    """
    if not isfinite(mean) or not isfinite(variance) or variance < 0:
        raise ValueError(f"an interval needs a finite mean and variance, got {mean!r} and {variance!r}")
    if n < 2:
        return -inf, inf
    radius = normal_quantile(confidence) * sqrt(variance / n)
    return mean - radius, mean + radius
