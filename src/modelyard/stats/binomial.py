"""Confidence sequences for a rate and for a quantile: exact at every sample size, valid at all of them together.

For trials with rate ``p`` the ratio of the mixture likelihood (the rate drawn from a Beta prior) to the likelihood of
``p`` is a martingale with mean 1 under ``p``; by Ville's inequality it ever exceeds ``1 / alpha`` with probability at
most ``alpha``. The rates at which it does not are the sequence (Robbins 1970, Annals of Mathematical Statistics 41;
Lai 1976, Annals of Statistics 4). A quantile is the value that a known share exceeds, so the same ratio bounds
the ranks between which it lies (Howard and Ramdas 2022, "Sequential estimation of quantiles", Bernoulli 28);
ties are harmless.
"""

from __future__ import annotations

from functools import lru_cache
from math import lgamma, log, log1p

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RARE = (0.5, 20.0)
"""The Beta prior: rates of a few percent, which is what errors and a tail are. It changes widths, never validity."""

_STEPS = 50
_lgamma = np.vectorize(lgamma, otypes=[np.float64])


def rate_sequence(events: ArrayLike, trials: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """``(low, high)`` for the rate, elementwise: both ends, at all sample sizes, hold together with ``1 - alpha``.

    Without trials it is (0, 1): nothing is known. Exact but for bisection to 1e-15.

    Raises:
        ValueError: alpha is not strictly between 0 and 1, or the counts are impossible.

    >>> low, high = rate_sequence(0, 1000, 0.025)
    >>> float(low), round(float(high), 4)
    (0.0, 0.0056)
    """
    _checked(alpha)
    k, n = np.broadcast_arrays(np.asarray(events, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if (k < 0).any() or (k > n).any():
        raise ValueError("events must lie between 0 and trials")
    mixture = _mixture(k, n)
    share = np.divide(k, n, out=np.full(k.shape, 0.5), where=n > 0)
    low = _edge(k, n, mixture, alpha, np.zeros(k.shape), share)
    high = _edge(k, n, mixture, alpha, np.ones(k.shape), share)
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


@lru_cache(maxsize=65_536)
def quantile_ranks(n: int, quantile: float, alpha: float) -> tuple[int | None, int | None]:
    """The places in ``n`` sorted values (from 0) between which the quantile lies; None: not yet.

    Raises:
        ValueError: quantile or alpha is not strictly between 0 and 1, or n is negative.

    >>> quantile_ranks(100, 0.95, 0.025), quantile_ranks(1000, 0.95, 0.025)
    ((84, 99), (922, 971))
    """
    _checked(alpha)
    _checked(quantile)
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    above, share = np.arange(n + 1, dtype=np.float64), 1 - quantile
    evidence = _mixture(above, np.full(n + 1, float(n))) - above * log(share) - (n - above) * log1p(-share)
    likely = np.flatnonzero(evidence < -log(alpha))
    fewest, most = int(likely[0]), int(likely[-1])
    return (n - most - 1 if most < n else None), (n - fewest if fewest else None)


def _mixture(k: Floats, n: Floats) -> Floats:
    """The log likelihood of the counts when the rate is drawn from the prior."""
    a, b = RARE
    start = lgamma(a + b) - lgamma(a) - lgamma(b)
    return np.asarray(start + _lgamma(a + k) + _lgamma(b + n - k) - _lgamma(a + b + n))


def _edge(k: Floats, n: Floats, mixture: Floats, alpha: float, outside: Floats, inside: Floats) -> Floats:
    """Where the ratio crosses ``1 / alpha`` on the way from a rate that is refuted to the one observed."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = np.where(k > 0, k * np.log(middle), 0.0) + np.where(n > k, (n - k) * np.log1p(-middle), 0.0)
        refuted = mixture - plain >= -log(alpha)
        outside, inside = np.where(refuted, middle, outside), np.where(refuted, inside, middle)
    return outside


def _checked(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"must lie strictly between 0 and 1, got {share!r}")
