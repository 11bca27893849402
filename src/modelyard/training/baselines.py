"""The simple models that are always fitted beside the network: whoever cannot beat them does not need a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.release.encode import Tensors
from modelyard.training.fit import Rows

Floats = npt.NDArray[np.float64]
Forecast = Callable[[Tensors], Floats]
MOST_CODES = 250
"""Gradient boosting keeps at most 255 bins of a feature: rarer categories share one."""


def fit_baselines(rows: Rows) -> Mapping[str, Forecast]:
    """Logistic regression and gradient boosting, fitted on encoded rows: probabilities by name.

    On one thread, so that equal rows give equal numbers. Few iterations: a second or two for the flights' 70,000 rows.
    Empty where the labels are all alike, which nothing can be learnt from.
    """
    if not len(rows) or rows.label.min() == rows.label.max():
        return {}
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return {"logistic": _logistic(rows), "boosting": _boosting(rows)}


@dataclass(frozen=True, slots=True)
class _Design:
    """Standardised numbers, with the mean for missing ones, an indicator of missing, and a column for each category."""

    mean: Floats
    scale: Floats
    codes: tuple[int, ...]

    @classmethod
    def of(cls, feeds: Tensors, n: int) -> _Design:
        numeric, categorical = _parts(feeds, n)
        present = ~np.isnan(numeric)
        count = np.maximum(present.sum(axis=0), 1)
        mean = np.where(present, numeric, 0).sum(axis=0) / count
        spread = np.where(present, numeric - mean, 0)
        codes = tuple(int(column.max()) + 1 for column in categorical.T)
        return cls(mean, np.maximum(np.sqrt((spread**2).sum(axis=0) / count), 1e-6), codes)

    def matrix(self, feeds: Tensors, n: int) -> Any:
        from scipy import sparse

        numeric, categorical = _parts(feeds, n)
        absent = np.isnan(numeric)
        scaled = np.where(absent, 0, ((numeric - self.mean) / self.scale).clip(-6, 6))
        hot = [_one_hot(column, codes) for column, codes in zip(categorical.T, self.codes, strict=True)]
        return sparse.hstack([sparse.csr_matrix(scaled), sparse.csr_matrix(absent.astype(float)), *hot], format="csr")


def _one_hot(column: npt.NDArray[np.int64], codes: int) -> Any:
    """A category that was never seen is in no column."""
    from scipy import sparse

    known = np.flatnonzero(column < codes)
    return sparse.csr_matrix((np.ones(known.size), (known, column[known])), shape=(column.size, codes))


def _logistic(rows: Rows) -> Forecast:
    from sklearn.linear_model import LogisticRegression

    design = _Design.of(rows.feeds, len(rows))
    model = LogisticRegression(C=0.3, max_iter=100, tol=1e-3)
    model.fit(design.matrix(rows.feeds, len(rows)), rows.label)
    return lambda feeds: np.asarray(model.predict_proba(design.matrix(feeds, _count(feeds)))[:, 1], dtype=np.float64)


def _boosting(rows: Rows) -> Forecast:
    from sklearn.ensemble import HistGradientBoostingClassifier

    numbers = _parts(rows.feeds, len(rows))[0].shape[1]
    table = _table(rows.feeds, len(rows))
    model = HistGradientBoostingClassifier(
        max_iter=60,
        learning_rate=0.1,
        early_stopping=False,
        categorical_features=list(range(numbers, table.shape[1])),
        random_state=0,
    )
    model.fit(table, rows.label)
    return lambda feeds: np.asarray(model.predict_proba(_table(feeds, _count(feeds)))[:, 1], dtype=np.float64)


def _table(feeds: Tensors, n: int) -> npt.NDArray[np.float32]:
    numeric, categorical = _parts(feeds, n)
    # In the order of the vocabulary, which is the alphabet's: what lies beyond shares the last bin.
    return np.concatenate([numeric, np.minimum(categorical, MOST_CODES)], axis=1).astype(np.float32)


def _parts(feeds: Tensors, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    numeric, categorical = feeds.get("numeric"), feeds.get("categorical")
    return (
        np.empty((n, 0)) if numeric is None else np.asarray(numeric, dtype=np.float64),
        np.empty((n, 0), dtype=np.int64) if categorical is None else np.asarray(categorical, dtype=np.int64),
    )


def _count(feeds: Tensors) -> int:
    return int(next(iter(feeds.values())).shape[0])
