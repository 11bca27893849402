"""The shift between retrainings: what it recovers, what the prior keeps back, and odd input."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.drift.recalibrate import fit_shift, fit_slices, weights

RNG = np.random.default_rng(3)
LOGIT = RNG.normal(-1, 1, 20_000)
ONES = np.ones_like(LOGIT)


def outcomes(shift: float) -> np.ndarray:
    return (RNG.random(LOGIT.size) < 1 / (1 + np.exp(-(LOGIT + shift)))).astype(float)


@pytest.mark.parametrize("shift", [-0.8, 0.0, 0.5])
def test_without_prior_it_finds_the_shift_and_closes_the_gap(shift: float) -> None:
    label = outcomes(shift)
    found = fit_shift(LOGIT, label, ONES, 0.0)
    assert found == pytest.approx(shift, abs=0.06)
    assert (1 / (1 + np.exp(-(LOGIT + found)))).mean() == pytest.approx(label.mean(), abs=1e-9)


def test_the_prior_keeps_back_more_the_fewer_rows_there_are() -> None:
    label = outcomes(0.8)
    few, many = (fit_shift(LOGIT[:n], label[:n], ONES[:n], 4000.0) for n in (200, 20_000))
    assert 0 < few < 0.15 < 0.5 < many < 0.8


def test_the_start_changes_nothing() -> None:
    label = outcomes(0.3)
    assert fit_shift(LOGIT, label, ONES, 100.0, start=5.0) == pytest.approx(fit_shift(LOGIT, label, ONES, 100.0))


def test_weights_say_whom_to_believe() -> None:
    label = np.where(np.arange(LOGIT.size) < 10_000, outcomes(-1.0), outcomes(1.0))
    age = np.where(np.arange(LOGIT.size) < 10_000, 40.0, 0.0)
    assert fit_shift(LOGIT, label, weights(age, 5.0), 0.0) == pytest.approx(1.0, abs=0.1)


def test_without_rows_there_is_no_shift_and_one_class_is_bounded_by_the_prior() -> None:
    empty = np.array([])
    assert fit_shift(empty, empty, empty, 0.0, start=1.0) == 0.0
    assert 0 < fit_shift(LOGIT, ONES, ONES, 4000.0) < 10
    assert np.isfinite(fit_shift(LOGIT, ONES, ONES, 0.0))


ALL = np.zeros(LOGIT.size, dtype=np.int64)
SLICE = np.arange(LOGIT.size) % 4
COLUMNS = np.stack([ALL, 1 + SLICE], axis=1)
PRIOR = np.array([4000.0, 300.0, 300.0, 300.0, 300.0, 300.0])


def test_slices_find_the_slice_that_moved() -> None:
    label = np.where(SLICE == 2, outcomes(1.0), outcomes(0.0))
    found = fit_slices(LOGIT, COLUMNS, label, ONES, PRIOR)
    moved = found[0] + found[1:5]
    assert moved[2] == pytest.approx(1.0, abs=0.15)
    assert np.abs(np.delete(moved, 2)).max() < 0.15
    assert found[5] == 0  # a category without rows


def test_slices_are_the_least_of_what_they_say_they_minimise() -> None:
    label = outcomes(0.4)

    def penalised(shift: np.ndarray) -> float:
        z = LOGIT + shift[COLUMNS].sum(axis=1)
        return float((np.logaddexp(0, z) - label * z).sum() + (PRIOR * shift**2).sum() / 8)

    found = fit_slices(LOGIT, COLUMNS, label, ONES, PRIOR)
    for column in range(5):
        for by in (-0.01, 0.01):
            assert penalised(found) < penalised(found + by * np.eye(6)[column])
    assert fit_slices(LOGIT, COLUMNS, label, ONES, PRIOR, start=found + 1) == pytest.approx(found, abs=1e-6)


def test_one_column_for_all_rows_is_the_shift() -> None:
    label, weight = outcomes(0.4), weights(np.arange(LOGIT.size) / 500, 14.0)
    found = fit_slices(LOGIT, ALL[:, None], label, weight, np.array([4000.0]))
    assert found[0] == pytest.approx(fit_shift(LOGIT, label, weight, 4000.0), abs=1e-6)


def test_slices_without_rows_have_no_shifts_and_one_class_is_bounded() -> None:
    none = fit_slices(np.array([]), COLUMNS[:0], np.array([]), np.array([]), PRIOR, start=np.ones(6))
    assert none.tolist() == [0.0] * 6
    assert np.isfinite(fit_slices(LOGIT, COLUMNS, ONES, ONES, PRIOR)).all()
