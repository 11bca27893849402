"""Two classifiers on the same rows: which of them is right more often, by the rows on which only one of them is.

McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, in the
exact form: under equal accuracy each discordant row is a fair coin. Rows are supposed independent.
"""

from __future__ import annotations

from math import exp, lgamma, log


def mcnemar_worse(only_first: int, only_second: int) -> float:
    """The chance of as few rows, or fewer, that only the first gets right, if both were right equally often.

    Small: the first is worse. Without discordant rows it is 1: nothing speaks against it.

    Raises:
        ValueError: a count is below 0.

    >>> mcnemar_worse(10, 10) > 0.5, round(mcnemar_worse(2, 10), 4)
    (True, 0.0193)
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts of rows are 0 or more, got {only_first} and {only_second}")
    n = only_first + only_second
    return min(1.0, sum(_binomial_half(k, n) for k in range(only_first + 1)))


def _binomial_half(k: int, n: int) -> float:
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2))
