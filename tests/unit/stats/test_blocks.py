"""The interval on blocks: its error, its level, and what a wrong variance would do to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.stats.blocks import block_numbers, blocked, student_radius

ALPHA = 0.05


def streams(count: int, blocks: int, seed: int, correlation: float = 0.0) -> np.ndarray:
    """Normal block means, autoregressive."""
    values = np.random.default_rng(seed).normal(size=(count, blocks))
    for block in range(1, blocks):
        values[:, block] = correlation * values[:, block - 1] + (1 - correlation**2) ** 0.5 * values[:, block]
    return values


def ever_missed(values: np.ndarray, *, shrink: float = 1.0, **asked: float) -> float:
    """The share of streams whose sequence leaves out the mean, 0, after any block from the fifth on."""
    missed = np.zeros(len(values), dtype=bool)
    for n in range(5, values.shape[1] + 1):
        found = blocked(np.ones((len(values), n)), values[:, :n])
        missed |= np.abs(found.mean) > shrink * student_radius(found.error, found.effective, ALPHA, **asked)
    return float(missed.mean())


def test_it_holds_its_level_at_all_looks_with_few_blocks() -> None:
    assert 0.01 < ever_missed(streams(3000, 60, 1)) <= ALPHA


def test_a_smaller_variance_would_be_seen() -> None:
    """Without the correction for few clusters, or with a plug-in for the unknown spread, the level is lost."""
    assert ever_missed(streams(3000, 60, 1), shrink=0.8) > ALPHA


def test_a_correlation_that_is_declared_is_paid_for() -> None:
    values = streams(3000, 60, 2, correlation=0.3)
    assert ever_missed(values) > ALPHA
    assert ever_missed(values, correlation=0.3) <= ALPHA


def test_the_error_is_that_of_the_mean_of_unequal_blocks() -> None:
    random = np.random.default_rng(3)
    weights = random.integers(500, 1500, 25).astype(float)
    means = random.normal(0.0, 1.0, (4000, 25))
    found = blocked(np.broadcast_to(weights, means.shape), weights * means)
    assert np.sqrt((found.error**2).mean()) == pytest.approx(found.mean.std(), rel=0.05)
    assert found.effective[0] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 1000), st.floats(-100, 100)), min_size=2, max_size=20), st.randoms())
def test_neither_order_nor_empty_blocks_nor_an_offset_matter(blocks: list[tuple[float, float]], order: object) -> None:
    weights, totals = (np.array(each) for each in zip(*blocks, strict=True))
    found = blocked(weights, totals)
    places = np.random.default_rng(len(blocks)).permutation(len(blocks))
    again = blocked(np.append(weights[places], 0.0), np.append(totals[places], 0.0))
    moved = blocked(weights, totals + 3 * weights)
    for part, offset in (("mean", 3.0), ("error", 0.0), ("effective", 0.0)):
        here = float(getattr(found, part))
        assert float(getattr(again, part)) == pytest.approx(here, rel=1e-6, abs=1e-6)
        assert float(getattr(moved, part)) == pytest.approx(here + offset, rel=1e-6, abs=1e-4)


def test_more_blocks_are_never_worth_less() -> None:
    radius = student_radius(1 / np.sqrt(np.arange(5, 400)), np.arange(5, 400), ALPHA)
    assert (np.diff(radius[np.isfinite(radius)]) < 0).all()


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_too_few_blocks_say_nothing(blocks: int) -> None:
    assert student_radius(0.1, blocks, ALPHA) == np.inf
    assert student_radius(np.inf, 30, ALPHA) == np.inf


def test_one_block_has_no_error() -> None:
    assert blocked([10.0], [3.0]).error == np.inf


@pytest.mark.parametrize(("alpha", "correlation"), [(0.0, 0.0), (1.0, 0.0), (0.05, 1.0), (0.05, -0.1)])
def test_impossible_levels_are_refused(alpha: float, correlation: float) -> None:
    with pytest.raises(ValueError, match="must lie"):
        student_radius(0.1, 10, alpha, correlation=correlation)


def test_no_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        blocked([0.0], [0.0])


def test_a_block_ends_at_its_hour() -> None:
    moments = np.array(["2013-04-09T08:59", "2013-04-09T09:00", "2013-04-10T08:59", "2013-04-10T09:00"])
    assert block_numbers(moments.astype("datetime64[us]"), 24, 9).tolist() == [0, 1, 1, 2]
