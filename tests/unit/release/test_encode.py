"""One encoding for training, evaluation and the gateway."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import ConfigError
from modelyard.release.encode import category, encode, probability
from modelyard.release.signature import Calibration, Input, Signature

SIGNATURE = Signature(
    model="m",
    key="id",
    inputs=(
        Input(name="wind", kind="numeric", source="request", nullable=True, scale=0.5, offset=1.0),
        Input(name="carrier", kind="categorical", source="request", vocabulary=("AA", "7")),
    ),
)


def test_units_of_serving_are_converted_and_those_of_training_are_not() -> None:
    columns = {"wind": [10.0, None], "carrier": ["AA", "?"]}
    np.testing.assert_array_equal(encode(columns, SIGNATURE, units="serving")["numeric"], [[6.0], [np.nan]])
    np.testing.assert_array_equal(encode(columns, SIGNATURE, units="model")["numeric"], [[10.0], [np.nan]])


def test_unknown_and_missing_categories_share_code_zero() -> None:
    column = pd.Series(["AA", 7.0, 7, None, float("nan"), pd.NA, "ZZ"], dtype=object)
    feeds = encode({"wind": [0.0] * 7, "carrier": column}, SIGNATURE, units="model")
    assert feeds["categorical"][:, 0].tolist() == [1, 2, 2, 0, 0, 0, 0]
    assert (feeds["numeric"].dtype, feeds["categorical"].dtype) == (np.float32, np.int64)


def test_an_absent_column_is_named() -> None:
    with pytest.raises(ConfigError, match="carrier"):
        encode({"wind": [1.0]}, SIGNATURE, units="model")


def test_inputs_of_one_kind_make_one_tensor() -> None:
    only = Signature(model="m", key="id", inputs=SIGNATURE.inputs[:1])
    assert list(encode({"wind": [1.0]}, only, units="model")) == ["numeric"]


@given(st.integers(-(10**12), 10**12))
def test_a_whole_float_is_its_integer(value: int) -> None:
    assert category(float(value)) == category(value) == str(value)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(0.05, 5), st.floats(-5, 5))
def test_calibration_keeps_the_ranking_and_gives_probabilities(z: list[float], a: float, b: float) -> None:
    p = probability(np.array(sorted(z)), Calibration(a=a, b=b))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()
