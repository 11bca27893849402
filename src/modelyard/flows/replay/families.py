"""The families of models that a replay fits: the platform's own network, and a plain rival on the same features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelyard.core.window import Window
from modelyard.flows.replay.history import Past
from modelyard.training.params import TrainParams

if TYPE_CHECKING:
    import pandas as pd

Forecast = Callable[["pd.DataFrame"], npt.NDArray[np.float64]]
"""From rows with features to logits."""

_TINY = 1e-9


def fit_network(past: Past, rows: pd.DataFrame, window: Window, params: TrainParams) -> Forecast:
    """The model as the platform's own training makes it, days held out and calibration included."""
    from modelyard.training.model import train_model

    trained = train_model(past.project, rows, window, params, device="cpu")
    return lambda ahead: _logit(trained.score(ahead))


def fit_logistic(past: Past, rows: pd.DataFrame, _window: Window, _params: TrainParams) -> Forecast:
    """A logistic regression of scikit-learn on all rows of the window: the plainest rival on the same features."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    spec = past.project.spec
    columns = list(spec.features)
    prepared = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    model = make_pipeline(
        make_column_transformer(
            (prepared, list(spec.of(kind="numeric"))), (hot, list(spec.of(kind="categorical"))), sparse_threshold=0.0
        ),
        LogisticRegression(C=0.3, max_iter=500),
    )
    with threadpool_limits(1):  # sums in one order: equal rows give equal forecasts, whatever the number of cores
        model.fit(rows[columns], rows[spec.label.column])

    def forecast(ahead: pd.DataFrame) -> npt.NDArray[np.float64]:
        with threadpool_limits(1):
            return np.asarray(model.decision_function(ahead[columns]), dtype=np.float64)

    return forecast


def _logit(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(p, _TINY, 1 - _TINY)
    return np.log(clipped) - np.log1p(-clipped)


FAMILIES = {"logistic": fit_logistic, "network": fit_network}

SEEDED = ("network",)
"""Families whose fit depends on a seed."""
