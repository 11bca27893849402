"""The rival rules are what their sources say."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from modelyard.stats.bayes import expected_positive
from modelyard.stats.rivals import expected_loss, normal_cdf, pocock, probability_best


def test_the_distribution_function_is_close() -> None:
    x = np.linspace(-8, 8, 400)
    assert normal_cdf(x) == pytest.approx([NormalDist().cdf(v) for v in x], abs=1e-7)


def test_probability_best_promotes_and_rolls_back_at_its_limits() -> None:
    z = NormalDist().inv_cdf(0.95)
    mean = np.array([-z - 1e-6, -z + 1e-6, z - 1e-6, z + 1e-6])
    promoted, back = probability_best(mean, np.ones(4))
    assert (promoted.tolist(), back.tolist()) == ([True, False, False, False], [False, False, False, True])
    promoted, _ = probability_best(np.zeros(1), np.ones(1), margin=1.7)
    assert promoted.all()


@pytest.mark.parametrize("mean", [-0.02, 0.0, 0.013])
def test_expected_loss_is_the_closed_form(mean: float) -> None:
    cost, staying = expected_positive(mean, 0.01), expected_positive(-mean, 0.01)
    for threshold in (cost * 0.99, cost * 1.01, staying * 0.99, staying * 1.01):
        promoted, back = expected_loss(np.array([mean]), np.array([0.01]), threshold)
        assert promoted[0] == (cost < threshold and cost <= staying)
        assert back[0] == (staying < threshold and staying < cost)


def test_pocock_looks_five_times_and_keeps_its_five_percent() -> None:
    draws = np.random.default_rng(1).normal(size=(20_000, 100)).cumsum(axis=1)
    n = np.arange(1, 101)
    promoted, back = pocock(draws / n, np.broadcast_to(1 / np.sqrt(n), draws.shape), margin=0.0)
    assert set(np.flatnonzero((promoted | back).any(axis=0)).tolist()) == {19, 39, 59, 79, 99}
    assert (promoted | back).any(axis=1).mean() == pytest.approx(0.05, abs=0.006)
