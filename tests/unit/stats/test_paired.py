"""McNemar's exact test beside SciPy's binomial distribution."""

from __future__ import annotations

import pytest

from modelyard.stats.paired import mcnemar_worse


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (3, 9), (84, 73), (200, 260), (5, 0)])
def test_is_the_lower_tail_of_a_fair_coin(first: int, second: int) -> None:
    from scipy.stats import binom

    assert mcnemar_worse(first, second) == pytest.approx(float(binom.cdf(first, first + second, 0.5)))


def test_counts_below_nought_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        mcnemar_worse(-1, 2)
