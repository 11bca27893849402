"""What an A/B test shows to people: P(B > A), expected loss, credible intervals, rows needed. In closed form.

None of it bears being looked at again and again, which is why no decision of the platform uses it; see
``stats.sequential`` for what does.

Sources: rates have independent Beta(1, 1) priors. P(B > A) is Evan Miller's sum ("Formulas for Bayesian A/B testing",
2014), the expected loss Chris Stucchio's ("Bayesian A/B testing at VWO", 2015, section 5). Paired differences are
normal with a flat prior; their expected loss is the unit normal loss integral (Raiffa and Schlaifer 1961).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, erf, exp, lgamma, log, log1p, pi, sqrt
from statistics import NormalDist

from modelyard.stats.intervals import Interval, normal_quantile

_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Rate:
    """What is known of a rate after ``events`` of ``trials``: a Beta distribution.

    Raises:
        ValueError: events are no whole number from 0 to trials.
    """

    events: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.events <= self.trials:
            raise ValueError(f"{self.events} events in {self.trials} trials")

    @property
    def shape(self) -> tuple[int, int]:
        """The two parameters of the Beta distribution."""
        return self.events + 1, self.trials - self.events + 1

    def credible(self, confidence: float = 0.95) -> Interval:
        """The central credible interval, by bisection of the distribution function.

        >>> low, high = Rate(5, 100).credible()
        >>> round(low, 4), round(high, 4)
        (0.0221, 0.1118)
        """
        normal_quantile(confidence)  # refuses what is no confidence
        tail = (1 - confidence) / 2
        return _beta_quantile(tail, *self.shape), _beta_quantile(1 - tail, *self.shape)


def probability_greater(b: Rate, a: Rate) -> float:
    """P(rate of B > rate of A).

    >>> probability_greater(Rate(10, 100), Rate(10, 100))
    0.5
    """
    return _greater(b.shape, a.shape)


def expected_excess(b: Rate, a: Rate) -> float:
    """E[max(rate of B - rate of A, 0)]: of failures, what choosing B is expected to cost; of successes, keeping A."""
    (b1, b2), (a1, a2) = b.shape, a.shape
    chosen = b1 / (b1 + b2) * _greater((b1 + 1, b2), (a1, a2))
    kept = a1 / (a1 + a2) * _greater((b1, b2), (a1 + 1, a2))
    return max(chosen - kept, 0.0)


def probability_below_zero(mean: float, error: float) -> float:
    """P(difference < 0) of a difference with a normal posterior; 0 or 1 (or .5 at zero) where the error is 0."""
    if error == 0:
        return 0.5 if mean == 0 else float(mean < 0)
    return _normal_cdf(-mean / error)


def expected_positive(mean: float, error: float) -> float:
    """E[max(difference, 0)] of a difference with a normal posterior."""
    if error == 0:
        return max(mean, 0.0)
    u = mean / error
    return error * exp(-u * u / 2) / sqrt(2 * pi) + mean * _normal_cdf(u)


def rows_for_paired(deviation: float, margin: float, *, alpha: float, power: float = 0.8) -> int:
    """Paired rows that one single look needs to show "worse by less than the margin" of an equal version.

    >>> rows_for_paired(0.12, 0.01, alpha=0.025)
    1131
    """
    return ceil((_z(alpha, power) * deviation / _positive(margin)) ** 2)


def rows_for_rates(rate: float, margin: float, share: float, *, alpha: float, power: float = 0.8) -> int:
    """Rows of both versions together for the same with rates, where B answers this share; a single look.

    >>> rows_for_rates(0.05, 0.01, 0.5, alpha=0.025), rows_for_rates(0.05, 0.01, 0.05, alpha=0.025)
    (14913, 78489)
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie strictly between 0 and 1, got {share!r}")
    return ceil(_z(alpha, power) ** 2 * rate * (1 - rate) / (_positive(margin) ** 2 * share * (1 - share)))


def _z(alpha: float, power: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)


def _positive(margin: float) -> float:
    if not margin > 0:
        raise ValueError(f"margin must be positive, got {margin!r}")
    return margin


def _normal_cdf(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _greater(b: tuple[int, int], a: tuple[int, int]) -> float:
    """P(B > A) for Beta variables with whole first parameters; the sum has as many terms as the smaller of them."""
    if a[0] < b[0]:
        return 1 - _greater(a, b)
    if a == b:
        return 0.5
    total, base = 0.0, _log_beta(*a)
    for i in range(b[0]):
        total += exp(_log_beta(a[0] + i, a[1] + b[1]) - log(b[1] + i) - _log_beta(1 + i, b[1]) - base)
    return min(total, 1.0)


def _beta_quantile(share: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_cdf(middle, a, b) < share else (low, middle)
    return (low + high) / 2


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_cdf(1 - x, b, a)
    front = exp(a * log(x) + b * log1p(-x) - _log_beta(a, b)) / a
    value, c, d = 1.0, 1.0, 0.0
    for step in range(2000):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / ((1 + term * d) or _TINY)
        c = (1 + term / c) or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * (value - 1)
