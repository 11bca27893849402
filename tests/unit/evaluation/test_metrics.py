"""Metrics against known answers (against scikit-learn: tests/integration/training)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.evaluation.metrics import auc, calibration_gap, ece, logloss

RNG = np.random.default_rng(2)
P = np.round(RNG.random(2000), 2)  # rounded: many ties
LABEL = (RNG.random(2000) < P).astype(float)


@pytest.mark.parametrize("label", [np.zeros(4), np.ones(4)])
def test_one_class_has_no_ranking(label: np.ndarray) -> None:
    assert math.isnan(auc(label, np.linspace(0, 1, 4)))


def test_a_sure_and_wrong_forecast_costs_much_but_not_infinitely() -> None:
    assert 15 < logloss(np.array([1.0]), np.array([0.0])) < 17


def test_the_gap_is_signed_and_calibration_error_is_not() -> None:
    label, p = np.array([0.0, 1.0] * 50), np.full(100, 0.7)
    assert calibration_gap(label, p) == pytest.approx(0.2)
    assert ece(label, p) == pytest.approx(0.2)
    assert ece(LABEL, P) < 0.05


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=50))
def test_the_area_is_the_chance_of_a_right_pair(rows: list[tuple[bool, float]]) -> None:
    label, p = (np.array(x, dtype=float) for x in zip(*rows, strict=True))
    pairs = [(a > b) + 0.5 * (a == b) for a in p[label == 1] for b in p[label == 0]]
    expected = float(np.mean(pairs)) if pairs else math.nan
    assert auc(label, p) == pytest.approx(expected, nan_ok=True)
