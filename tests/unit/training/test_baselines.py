"""The simple models: they learn, repeat themselves, and take what is missing or was never seen."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.small_fit import rows

from modelyard.evaluation.metrics import auc
from modelyard.release.encode import Tensors
from modelyard.training.baselines import Forecast, fit_baselines
from modelyard.training.fit import Rows

TRAIN, HELD = rows(1500, 1), rows(500, 2)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Forecast]:
    return dict(fit_baselines(TRAIN))


@pytest.mark.parametrize("name", ["logistic", "boosting"])
def test_each_learns_and_repeats_itself(name: str, fitted: dict[str, Forecast]) -> None:
    p = fitted[name](HELD.feeds)
    assert auc(HELD.label.astype(float), p) > 0.75
    assert p.mean() == pytest.approx(HELD.label.mean(), abs=0.06)
    assert np.array_equal(fit_baselines(TRAIN)[name](HELD.feeds), p)


@pytest.mark.parametrize("name", ["logistic", "boosting"])
def test_missing_numbers_and_new_categories_are_answered(name: str, fitted: dict[str, Forecast]) -> None:
    feeds: Tensors = {"numeric": np.full((2, 3), np.nan, np.float32), "categorical": np.array([[0], [400]])}
    p = fitted[name](feeds)
    assert ((p > 0) & (p < 1)).all()


@pytest.mark.parametrize("kept", ["numeric", "categorical"])
def test_one_kind_of_input_is_enough(kept: str) -> None:
    found = fit_baselines(Rows({kept: TRAIN.feeds[kept]}, TRAIN.label))
    assert all(forecast({kept: HELD.feeds[kept]}).shape == (500,) for forecast in found.values())


def test_of_one_outcome_nothing_is_learnt() -> None:
    assert fit_baselines(Rows(TRAIN.feeds, np.zeros(1500, np.float32))) == {}
