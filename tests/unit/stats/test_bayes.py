"""The closed forms against numerical integration (1e-6) and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.stats.bayes import (
    Rate,
    expected_excess,
    expected_positive,
    probability_below_zero,
    probability_greater,
    rows_for_paired,
    rows_for_rates,
)

PAIRS = [
    (Rate(0, 0), Rate(0, 0)),
    (Rate(3, 200), Rate(40, 4000)),
    (Rate(55, 1000), Rate(50, 1000)),
    (Rate(0, 90), Rate(7, 50)),
    (Rate(2400, 50_000), Rate(120, 2500)),
    (Rate(8, 9), Rate(1, 12)),
]


def integrated(b: Rate, a: Rate) -> tuple[float, float]:
    """P(B > A) and E[max(B - A, 0)] by the trapezoid rule."""
    from scipy import stats

    x = np.linspace(0, 1, 100_001)
    first, second = stats.beta(*b.shape), stats.beta(*a.shape)
    probability = np.trapezoid(first.pdf(x) * second.cdf(x), x)
    # E[max(B - A, 0)] is the integral of P(A < x < B).
    return float(probability), float(np.trapezoid(second.cdf(x) * first.sf(x), x))


@pytest.mark.parametrize(("b", "a"), PAIRS)
def test_rates_agree_with_integration(b: Rate, a: Rate) -> None:
    probability, excess = integrated(b, a)
    assert probability_greater(b, a) == pytest.approx(probability, abs=1e-6)
    assert probability_greater(a, b) == pytest.approx(1 - probability, abs=1e-6)
    assert expected_excess(b, a) == pytest.approx(excess, abs=1e-6)


def test_rates_agree_with_monte_carlo() -> None:
    random, (b, a) = np.random.default_rng(1), PAIRS[2]
    drawn = random.beta(*b.shape, 1_000_000) - random.beta(*a.shape, 1_000_000)
    assert probability_greater(b, a) == pytest.approx((drawn > 0).mean(), abs=2e-3)
    assert expected_excess(b, a) == pytest.approx(np.maximum(drawn, 0).mean(), abs=2e-5)


def test_the_difference_of_both_expected_losses_is_that_of_the_means() -> None:
    b, a = PAIRS[1]
    means = [x / (x + y) for x, y in (b.shape, a.shape)]
    assert expected_excess(b, a) - expected_excess(a, b) == pytest.approx(means[0] - means[1], abs=1e-12)


@pytest.mark.parametrize("rate", [r for pair in PAIRS for r in pair])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_credible_intervals_agree_with_scipy(rate: Rate, confidence: float) -> None:
    from scipy import stats

    assert rate.credible(confidence) == pytest.approx(stats.beta(*rate.shape).interval(confidence), abs=1e-9)


@pytest.mark.parametrize(("mean", "error"), [(0.0, 1.0), (-0.02, 0.01), (0.3, 0.1), (5.0, 0.5)])
def test_normal_differences_agree_with_integration(mean: float, error: float) -> None:
    from scipy import stats

    x = np.linspace(mean - 12 * error, mean + 12 * error, 100_001)
    density = stats.norm(mean, error).pdf(x)
    assert probability_below_zero(mean, error) == pytest.approx(np.trapezoid(density * (x < 0), x), abs=1e-4)
    assert expected_positive(mean, error) == pytest.approx(np.trapezoid(density * np.maximum(x, 0), x), abs=1e-6)


def test_without_spread_there_is_no_doubt() -> None:
    assert [probability_below_zero(m, 0.0) for m in (-1.0, 0.0, 1.0)] == [1.0, 0.5, 0.0]
    assert [expected_positive(m, 0.0) for m in (-1.0, 1.0)] == [0.0, 1.0]


def test_the_rows_needed_give_the_power_asked_for() -> None:
    random = np.random.default_rng(2)
    n = rows_for_paired(0.5, 0.05, alpha=0.025, power=0.8)
    means = random.normal(0, 0.5 / np.sqrt(n), 100_000)
    assert (means + 1.959964 * 0.5 / np.sqrt(n) < 0.05).mean() == pytest.approx(0.8, abs=0.01)
    total = rows_for_rates(0.05, 0.01, 0.1, alpha=0.025, power=0.9)
    m, k = round(total * 0.9), round(total * 0.1)
    p, q = random.binomial(k, 0.05, 50_000) / k, random.binomial(m, 0.05, 50_000) / m
    error = np.sqrt(p * (1 - p) / k + q * (1 - q) / m)
    assert (p - q + 1.959964 * error < 0.01).mean() == pytest.approx(0.9, abs=0.015)


def test_the_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="3 events in 2 trials"):
        Rate(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        Rate(1, 2).credible(1.0)
    with pytest.raises(ValueError, match="margin"):
        rows_for_paired(1.0, 0.0, alpha=0.05)
    with pytest.raises(ValueError, match="share"):
        rows_for_rates(0.1, 0.01, 0.0, alpha=0.05)
