"""The cheap model by which the gain from a retraining is estimated: a logistic regression on a part of the rows.

What matters is not how good it is but how much better it gets when it is fitted on newer rows; a tenth of a second
tells most of that. It stands in for every family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelyard.core.window import Window
from modelyard.flows.replay.families import Forecast
from modelyard.flows.replay.history import Past
from modelyard.training.params import TrainParams

if TYPE_CHECKING:
    import pandas as pd

ROWS = 12_000
"""Evenly spaced rows of the window that it is fitted on."""


def fit_probe(past: Past, rows: pd.DataFrame, _window: Window, _params: TrainParams) -> Forecast:
    """A logistic regression on ``ROWS`` rows: scaled numbers, the frequent categories."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    spec = past.project.spec
    part = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, ROWS).astype(np.int64))]
    numeric, categorical = list(spec.of(kind="numeric")), list(spec.of(kind="categorical"))
    hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.02)
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numeric), (hot, categorical), sparse_threshold=0.0
        ),
        LogisticRegression(C=0.05, max_iter=1000),
    )
    columns = list(spec.features)
    with threadpool_limits(1):
        model.fit(part[columns], part[spec.label.column])

    def forecast(ahead: pd.DataFrame) -> npt.NDArray[np.float64]:
        with threadpool_limits(1):
            return np.asarray(model.decision_function(ahead[columns]), dtype=np.float64)

    return forecast
