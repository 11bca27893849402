"""Intervals against scipy, and at their ends."""

from __future__ import annotations

from math import inf

import pytest

from modelyard.stats.intervals import mean_interval, normal_quantile, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (237, 1000)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    from scipy.stats import binomtest

    wanted = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_without_trials_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert mean_interval(0.5, 0.0, 1) == (-inf, inf)


def test_mean_interval_is_the_normal_one() -> None:
    assert mean_interval(2.0, 9.0, 100) == pytest.approx((2 - 1.959964 * 0.3, 2 + 1.959964 * 0.3), abs=1e-6)


@pytest.mark.parametrize("bad", [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson(*bad)


@pytest.mark.parametrize("confidence", [0.0, 1.0, float("nan")])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="strictly between"):
        normal_quantile(confidence)


def test_a_mean_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(float("nan"), 1.0, 10)
