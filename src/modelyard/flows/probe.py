"""The cheap model by which the gain from a retraining is estimated: a logistic regression on a part of the rows.

What matters is not how good it is but how much better it gets when it is fitted on newer rows; a tenth of a second
tells most of that. It stands in for every kind of model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelyard.config.project import ModelSpec
from modelyard.core.errors import EvidenceMissing
from modelyard.release.encode import category

if TYPE_CHECKING:
    import pandas as pd

ROWS = 12_000
"""Evenly spaced rows that it is fitted on; more tell hardly more."""

Floats = npt.NDArray[np.float64]
Forecast = Callable[["pd.DataFrame"], Floats]
"""From rows with features to logits."""


def fit_probe(spec: ModelSpec, rows: pd.DataFrame, label: Floats) -> Forecast:
    """A logistic regression on ``ROWS`` of the rows: scaled numbers, the frequent categories. ``label`` is 0 or 1.

    Raises:
        EvidenceMissing: the rows have no outcome of one of the two kinds.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from threadpoolctl import threadpool_limits

    if np.unique(label).size < 2:
        raise EvidenceMissing(f"{len(rows)} rows, whose outcomes are not of both kinds: nothing to fit a probe on")
    part = np.unique(np.linspace(0, len(rows) - 1, ROWS).astype(np.int64))
    numeric, categorical = list(spec.of(kind="numeric")), list(spec.of(kind="categorical"))
    hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.02)
    scaled = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    model = make_pipeline(
        make_column_transformer((scaled, numeric), (hot, categorical), sparse_threshold=0.0),
        LogisticRegression(C=0.05, max_iter=1000),
    )
    with threadpool_limits(1):  # sums in one order: equal rows give equal forecasts, whatever the number of cores
        model.fit(_inputs(spec, rows.iloc[part]), label[part])

    def forecast(ahead: pd.DataFrame) -> Floats:
        with threadpool_limits(1):
            return np.asarray(model.decision_function(_inputs(spec, ahead)), dtype=np.float64)

    return forecast


def _inputs(spec: ModelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Categories as texts, as the model itself reads them; infinities are missing."""
    import pandas as pd

    numbers = {name: rows[name].astype("float64") for name in spec.of(kind="numeric")}
    texts = {name: rows[name].map(category) for name in spec.of(kind="categorical")}
    return pd.DataFrame({**numbers, **texts}, index=rows.index).replace([np.inf, -np.inf], np.nan)
