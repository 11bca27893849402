"""Platt scaling finds what was done to a forecast."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.evaluation.metrics import logloss
from modelyard.release.encode import probability
from modelyard.release.signature import Calibration
from modelyard.training.calibrate import fit_platt

RNG = np.random.default_rng(1)
TRUE = RNG.normal(-1, 1.5, 20_000)
LABEL = (RNG.random(TRUE.size) < 1 / (1 + np.exp(-TRUE))).astype(float)


def test_a_forecast_that_is_twice_too_sure_is_halved() -> None:
    found = fit_platt(2 * TRUE + 1, LABEL)
    assert found.a == pytest.approx(0.5, abs=0.03)
    assert found.b == pytest.approx(-0.5, abs=0.05)


def test_it_never_raises_the_loss_of_its_own_rows() -> None:
    found = fit_platt(0.3 * TRUE, LABEL)
    before = probability(0.3 * TRUE, Calibration(a=1, b=0))
    assert logloss(LABEL, probability(0.3 * TRUE, found)) <= logloss(LABEL, before)


def test_full_shrinkage_is_the_identity_and_half_lies_between() -> None:
    whole, half = fit_platt(2 * TRUE, LABEL), fit_platt(2 * TRUE, LABEL, shrinkage=0.5)
    assert fit_platt(2 * TRUE, LABEL, shrinkage=1.0) == Calibration(a=1, b=0)
    assert half.a == pytest.approx((1 + whole.a) / 2)


@pytest.mark.parametrize("label", [np.zeros(5), np.ones(5), np.empty(0)])
def test_one_class_or_none_teaches_nothing(label: np.ndarray) -> None:
    assert fit_platt(np.linspace(-1, 1, label.size), label) == Calibration(a=1, b=0)


def test_a_ranking_the_wrong_way_round_is_flattened_and_not_turned() -> None:
    assert fit_platt(-TRUE, LABEL).a > 0


def test_separable_rows_stay_finite() -> None:
    found = fit_platt(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([found.a, found.b]).all()
