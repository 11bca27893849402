"""Tests and intervals that stay valid however often one looks at the data.

A fixed-sample test that is repeated after every batch errs more and more often. The two tools here do not: an
*e-process* has expectation at most 1 under the null hypothesis at every stopping time, so it ever reaches 1/alpha with
probability at most alpha (Ville 1939); a *confidence sequence* covers at all sample sizes at once.

Sources:

* Ville 1939, "Etude critique de la notion de collectif"; Robbins 1970, "Statistical methods related to the law of the
  iterated logarithm", Annals of Mathematical Statistics 41 (the method of mixtures).
* Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS-B 86 (test martingales
  as bets; a mixture of bets is a bet).
* Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021, "Time-uniform central limit theory and asymptotic confidence
  sequences", arXiv:2103.06476 (theorem 2.2; the choice of rho in its appendix).
"""

from __future__ import annotations

from math import exp, inf, isfinite, log, sqrt

BETS = ((1.4, 0.125), (2.0, 0.125), (4.0, 0.125), (16.0, 0.125), (64.0, 0.5))
"""The alternatives that the e-process bets on, as multiples of the tolerated odds, and the stake on each (together 1).

Half lies on a version that is broken: each of its requests costs a user. A rate of twice the budget is found somewhat
later for it than with equal stakes.
"""


class BernoulliEProcess:
    """A one-sided test of "the failure rate is at most ``p0``" that may be looked at after every request.

    The e-value is the average, over the alternatives ``p1`` of ``BETS`` and weighted by their stakes, of the likelihood
    ratio ``(p1/p0)^failures * ((1-p1)/(1-p0))^successes``. Each term is a supermartingale for every rate up to ``p0``,
    also when the rate changes with time or with the past; hence so is the average. It trips when the e-value reaches
    ``1/alpha`` and stays tripped: the chance that it ever trips under the null is at most ``alpha``.

    A success can only lower the e-value, so nothing is computed then; that is what makes it fit for a request's path.
    The state is two counts, hence it is restored exactly after a restart.

    Raises:
        ValueError: ``p0`` or ``alpha`` is not strictly between 0 and 1, or the counts are impossible.

    >>> guard = BernoulliEProcess(p0=0.01, alpha=0.01)
    >>> [guard.update(1, 1) for _ in range(3)]
    [False, True, True]
    """

    __slots__ = ("_bets", "_bound", "alpha", "failures", "p0", "trials", "tripped")

    def __init__(self, p0: float, alpha: float, *, failures: int = 0, trials: int = 0, tripped: bool = False) -> None:
        for name, value in (("p0", p0), ("alpha", alpha)):
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
        odds = p0 / (1 - p0)
        alternatives = [(stake, ratio * odds / (1 + ratio * odds)) for ratio, stake in BETS]
        self._bets = tuple((log(stake), log(p1 / p0), log((1 - p1) / (1 - p0))) for stake, p1 in alternatives)
        self._bound = 1 / alpha
        self.p0, self.alpha, self.tripped = p0, alpha, tripped
        self.failures, self.trials = 0, 0
        self.update(failures, trials)

    def update(self, failures: int, trials: int) -> bool:
        """Count ``trials`` more requests of which ``failures`` failed; whether the guard has tripped, now or before."""
        self.trials += trials
        if failures:
            if failures < 0 or failures > trials:
                raise ValueError(f"{failures} failures in {trials} trials")
            self.failures += failures
            if not self.tripped:
                self.tripped = self.e_value >= self._bound
        return self.tripped

    @property
    def e_value(self) -> float:
        """The evidence against "at most p0" now; 1 at the start. (Tripping looks at its largest value so far.)"""
        lost, won = self.failures, self.trials - self.failures
        total = 0.0
        for stake, up, down in self._bets:
            power = stake + lost * up + won * down
            total += exp(power) if power < 700.0 else inf
        return total


def mixture_rho(n_opt: float, alpha: float) -> float:
    """The mixture's parameter which makes the sequence (nearly) tightest at ``n_opt`` observations.

    >>> round(mixture_rho(1000, 0.05), 4)
    0.0891
    """
    if n_opt <= 0 or not 0 < alpha < 1:
        raise ValueError(f"n_opt must be positive and alpha in (0, 1), got {n_opt!r} and {alpha!r}")
    spend = -2 * log(alpha)
    return sqrt((spend + log(spend + 1)) / n_opt)


def robbins_radius(n: int, sigma: float, alpha: float, *, n_opt: float) -> float:
    """Half the width of Robbins' normal-mixture sequence for the mean of ``n`` values.

    Exact for sub-Gaussian values of scale ``sigma`` (two-sided, level ``alpha``); infinite without values.
    """
    if n <= 0:
        return inf
    rho2 = mixture_rho(n_opt, alpha) ** 2
    return sigma * sqrt((n * rho2 + 1) / (n**2 * rho2) * log((n * rho2 + 1) / alpha**2))


def confidence_sequence(mean: float, variance: float, n: int, alpha: float, *, n_opt: float) -> tuple[float, float]:
    """An asymptotic confidence sequence for a mean with estimated variance: ``(low, high)`` at level ``1 - alpha``.

    Two-sided; a one-sided claim ("the difference is below the margin") may use one end at level ``alpha / 2``.
    Robbins' sequence with the running variance in the place of the known one. The guarantee holds as the first look
    grows: look no earlier than at some hundred values (the policy's minimum), or more where tails are heavy. With
    fewer than two values it is infinite: no evidence. A variance of zero gives a point, which is right for equal
    scores and wrong for rare events not yet seen.

    Raises:
        ValueError: mean or variance is not finite, or the variance is negative.

    >>> low, high = confidence_sequence(0.002, 0.04, 2000, 0.05, n_opt=2000)
    >>> round(low, 4), round(high, 4)
    (-0.0116, 0.0156)
    """
    if not isfinite(mean) or not isfinite(variance) or variance < 0:
        raise ValueError(f"a confidence sequence needs a finite mean and variance, got {mean!r} and {variance!r}")
    if n < 2:
        return -inf, inf
    radius = robbins_radius(n, sqrt(variance), alpha, n_opt=n_opt)
    return mean - radius, mean + radius
