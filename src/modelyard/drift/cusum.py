"""Cumulative sums: small differences that persist add up, single large ones are forgotten.

Page 1954, "Continuous inspection schemes", Biometrika 41.
"""

from __future__ import annotations

from collections.abc import Iterable


def cusum(values: Iterable[float], allowance: float) -> tuple[float, ...]:
    """``s[t] = max(0, s[t-1] + values[t] - allowance)``, from 0: the sum of what exceeds the allowance.

    >>> cusum([1.0, -3.0, 2.0, 2.0], allowance=0.5)
    (0.5, 0.0, 1.5, 3.0)
    """
    sums, total = [], 0.0
    for value in values:
        total = max(0.0, total + value - allowance)
        sums.append(total)
    return tuple(sums)


def two_sided(values: Iterable[float], allowance: float) -> tuple[float, ...]:
    """At each step the larger of the sums upwards and downwards.

    >>> two_sided([1.0, -3.0, -1.0], allowance=0.5)
    (0.5, 2.5, 3.0)
    """
    given = tuple(values)
    return tuple(map(max, cusum(given, allowance), cusum((-v for v in given), allowance)))
