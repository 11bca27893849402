"""Rates and quantiles are covered at every look: seeded streams, and the mixture against numerical integration."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from modelyard.stats.binomial import RARE, _mixture, quantile_ranks, rate_sequence


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.3])
def test_the_rate_is_covered_at_all_looks(rate: float) -> None:
    events = (np.random.default_rng(1).random((1000, 2000)) < rate).cumsum(axis=1)[:, 9::10]
    low, high = rate_sequence(events, np.arange(10, 2001, 10), 0.05)
    assert ((low > rate) | (high < rate)).any(axis=1).mean() <= 0.05


def test_wilson_repeated_does_not_cover() -> None:
    """What it replaces: an interval for one look, looked at a hundred times."""
    n = np.arange(50, 5001, 50)
    events = np.random.default_rng(2).binomial(50, 0.02, (1000, n.size)).cumsum(axis=1)
    share, z2 = events / n, 1.96**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    radius = 1.96 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    assert ((np.abs(centre - 0.02) > radius).any(axis=1)).mean() > 0.15


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_the_quantile_is_covered_at_all_looks(quantile: float) -> None:
    draws = np.random.default_rng(3).exponential(1.0, (400, 2000))
    truth, missed = -log(1 - quantile), np.zeros(400, dtype=bool)
    for n in range(50, 2001, 50):
        low, high = quantile_ranks(n, quantile, 0.05)
        seen = np.sort(draws[:, :n], axis=1)
        missed |= (seen[:, low] > truth) if low is not None else False
        missed |= (seen[:, high] < truth) if high is not None else False
    assert missed.mean() <= 0.05


def test_ties_cost_nothing() -> None:
    draws = np.ceil(np.random.default_rng(4).exponential(3.0, (400, 1000)))
    truth, missed = 9.0, np.zeros(400, dtype=bool)  # 1 - exp(-9/3) is .9502, 1 - exp(-8/3) is .9305
    for n in range(100, 1001, 50):
        low, high = quantile_ranks(n, 0.95, 0.05)
        seen = np.sort(draws[:, :n], axis=1)
        missed |= seen[:, low] > truth
        missed |= (seen[:, high] < truth) if high is not None else False
    assert missed.mean() <= 0.05


@pytest.mark.parametrize(("events", "trials"), [(0, 50), (3, 200), (40, 60)])
def test_the_mixture_is_the_integral_over_the_prior(events: int, trials: int) -> None:
    a, b = RARE
    root = (np.arange(200_000) + 0.5) / 200_000  # p = root^2: the prior's pole at 0 is gone
    p, prior = root**2, 2 * root ** (2 * a - 1) * (1 - root**2) ** (b - 1)
    wanted = (prior * p**events * (1 - p) ** (trials - events)).sum() / prior.sum()
    got = float(_mixture(np.array(float(events)), np.array(float(trials))))
    assert got == pytest.approx(log(wanted), abs=1e-6)


def test_rows_needed_without_any_failure() -> None:
    """What docs/rollout.md says: some 1,070 rows show less than .6%."""
    _, high = rate_sequence(0, np.array([1000, 1070]), 0.0125)
    assert high[0] > 0.006 > high[1]


def test_nothing_known_and_everything_failed() -> None:
    low, high = rate_sequence([0, 7], [0, 7], 0.05)
    assert (low[0], high[0], high[1]) == (0.0, 1.0, 1.0)
    assert low[1] > 0.05
    assert quantile_ranks(0, 0.95, 0.05) == (None, None)
    assert quantile_ranks(30, 0.95, 0.05)[1] is None


def test_each_end_is_where_the_ratio_reaches_the_level() -> None:
    low, high = rate_sequence(20, 400, 0.05)
    for p in (float(low), float(high)):
        ratio = float(_mixture(np.array(20.0), np.array(400.0))) - 20 * log(p) - 380 * log(1 - p)
        assert ratio == pytest.approx(log(20), abs=1e-6)


@pytest.mark.parametrize(("events", "trials", "alpha"), [(2, 1, 0.1), (-1, 1, 0.1), (1, 2, 0.0), (1, 2, float("nan"))])
def test_the_impossible_is_refused(events: int, trials: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="must lie"):
        rate_sequence(events, trials, alpha)
    with pytest.raises(ValueError, match=r"must (lie|not)"):
        quantile_ranks(-1, 0.5, 0.1)
