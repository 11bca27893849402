"""The simple models beside the network on the days that none of them was fitted on."""

from __future__ import annotations

import pandas as pd
import pytest
from fixtures.tiny_project import WINDOW, rows, tiny

from modelyard.config.project import Project
from modelyard.flows.simpler import compare, rivals
from modelyard.release.simple import Simple
from modelyard.training.model import Trained, train_model
from modelyard.training.params import TrainParams, read_params
from modelyard.training.split import cut, rows_in


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def params(project: Project) -> TrainParams:
    return read_params(project.params, model=project.name)


def beside(project: Project, frame: pd.DataFrame, params: TrainParams) -> tuple[dict[str, Simple], Trained]:
    with rivals(project, frame, WINDOW, params) as fitted:
        trained = train_model(project, frame, WINDOW, params, device="cpu")
    return {simple.name: simple for simple in compare(project, frame, trained, fitted.result())}, trained


def test_rows_that_a_line_explains_need_no_network(project: Project, params: TrainParams) -> None:
    found, _ = beside(project, rows(), params)
    assert set(found) == {"logistic", "boosting"}
    logistic = found["logistic"]
    assert logistic.as_good
    assert logistic.low is not None and logistic.high is not None  # noqa: PT018
    assert logistic.low <= logistic.difference <= logistic.high
    assert logistic.logloss < 0.55


def test_the_evaluation_days_are_compared_on_and_never_fitted_on(project: Project, params: TrainParams) -> None:
    frame = rows()
    before, _ = beside(project, frame, params)
    later = rows_in(frame["asked_at"], cut(WINDOW, params).evaluation)
    frame.loc[later, "late"] = 1 - frame.loc[later, "late"]
    after, _ = beside(project, frame, params)
    # Had one of them been fitted on the changed outcomes, it would not be this wrong about them.
    assert all(after[name].logloss > before[name].logloss + 0.5 for name in before)


def test_without_labelled_evaluation_rows_nothing_is_said(project: Project, params: TrainParams) -> None:
    frame = rows()
    frame = frame[~rows_in(frame["asked_at"], cut(WINDOW, params).evaluation)]
    found, _ = beside(project, frame, params)
    assert found == {}
