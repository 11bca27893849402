"""From named raw values to the tensors of a model: the one encoding that training, evaluation and the gateway share.

Only numpy is needed. ``units`` says what the values are in: ``model`` for frames of the training pipeline, ``serving``
for what the gateway receives, which the signature's ``scale`` and ``offset`` then convert.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from modelyard.core.errors import ConfigError
from modelyard.release.signature import UNKNOWN_CODE, Calibration, Input, Signature

Units = Literal["model", "serving"]
Columns = Mapping[str, Any]
"""A sequence, array or pandas Series by name."""
Tensors = dict[str, npt.NDArray[Any]]

_MISSING = {"NAType", "NaTType"}  # pandas' own, by name: the gateway does without pandas


def encode(columns: Columns, signature: Signature, *, units: Units) -> Tensors:
    """The feeds of the ONNX graph: ``numeric`` float32 [n, k] and ``categorical`` int64 [n, c], each only if not empty.

    Raises:
        ConfigError: a column of the signature is absent.
    """
    for item in signature.inputs:
        if item.name not in columns:
            raise ConfigError(item.name, "<missing>", "a column for every input of the signature", where="frame")
    feeds: Tensors = {}
    if signature.numeric:
        feeds["numeric"] = np.stack([numbers(columns[i.name], i, units) for i in signature.numeric], axis=1)
    if signature.categorical:
        feeds["categorical"] = np.stack([codes(columns[i.name], i) for i in signature.categorical], axis=1)
    return feeds


def numbers(values: Any, item: Input, units: Units) -> npt.NDArray[np.float32]:
    """One numeric column; None and NaN are missing."""
    raw = np.asarray(values, dtype=np.float64)
    if units == "serving":
        raw = raw * item.scale + item.offset
    return raw.astype(np.float32)


def codes(values: Any, item: Input) -> npt.NDArray[np.int64]:
    """One categorical column as places in the vocabulary, from 1; ``UNKNOWN_CODE`` for the rest."""
    places = {name: place for place, name in enumerate(item.vocabulary, start=1)}
    return np.fromiter((places.get(category(v), UNKNOWN_CODE) for v in values), dtype=np.int64, count=len(values))


def category(value: Any) -> str:
    """How a category is written; empty for a missing one. A whole float is its integer: JSON and pandas differ there.

    >>> category("UA"), category(7.0), category(7), category(None), category(float("nan"))
    ('UA', '7', '7', '', '')
    """
    if value is None or type(value).__name__ in _MISSING or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def probability(logit: npt.NDArray[Any], calibration: Calibration) -> npt.NDArray[np.float64]:
    """The calibrated probability of each logit, without overflow.

    >>> probability(np.array([0.0, -900.0, 900.0]), Calibration(a=1.0, b=0.0)).tolist()
    [0.5, 0.0, 1.0]
    """
    z = calibration.a * np.asarray(logit, dtype=np.float64) + calibration.b
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, e) / (1.0 + e), dtype=np.float64)
