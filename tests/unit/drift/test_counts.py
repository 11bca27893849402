"""Columns of every kind that pandas has: each value has one bin, and none stops the count."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from modelyard.core.errors import ConfigError
from modelyard.core.profile import CategoricalBins, NumericBins, Profile
from modelyard.drift.counts import count_column, number
from modelyard.drift.edges import fit_bins, fit_profile

NUMBERS = NumericBins(atoms=(0.0,), edges=(-1.0, 2.0))  # missing, invalid, = 0, (-inf, -1], (-1, 2], (2, inf]
NAMES = CategoricalBins(frequent=("1", "UA"), known=("True", "2013-01-01"))  # missing, unseen, other, 1, UA


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        ([0.0, -0.0, -1.0, 2.0, 2.1, np.nan, np.inf, -np.inf], (1, 2, 2, 1, 1, 1)),
        (pd.Series([0, 3, None], dtype="Int64"), (1, 0, 1, 0, 0, 1)),
        (pd.Series([True, False, None], dtype="boolean"), (1, 0, 1, 0, 1, 0)),
        (np.array([True, False]), (0, 0, 1, 0, 1, 0)),
        (np.array([0, 255], dtype=np.uint8), (0, 0, 1, 0, 0, 1)),
        (np.array([0, 3], dtype=np.float16), (0, 0, 1, 0, 0, 1)),
        (np.array([0, 3], dtype=complex), (0, 2, 0, 0, 0, 0)),
        (pd.to_datetime(["2013-01-01", None]), (1, 1, 0, 0, 0, 0)),
        (pd.to_datetime(["2013-01-01", None], utc=True), (1, 1, 0, 0, 0, 0)),
        (pd.to_timedelta([1, None]), (1, 1, 0, 0, 0, 0)),
        (pd.Categorical([3, 3, None]), (1, 0, 0, 0, 0, 2)),
        (pd.Categorical(["3", "x", None]), (1, 1, 0, 0, 0, 1)),
        (pd.Series(["0", " -2 ", "warm", None], dtype="string"), (1, 1, 1, 1, 0, 0)),
        ([0, True, "0", Decimal("5"), date(2013, 1, 1), [1], {"a": 1}, b"0", None, 10**400], (1, 5, 2, 0, 1, 1)),
        ([None, None], (2, 0, 0, 0, 0, 0)),
        ([], (0, 0, 0, 0, 0, 0)),
        ([2**53 + 1], (0, 0, 0, 0, 0, 1)),
    ],
)
def test_numbers(column: Any, counts: tuple[int, ...]) -> None:
    assert count_column(NUMBERS, pd.Series(column)) == counts


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        (["UA", "ua", "", None, float("nan")], (2, 2, 0, 0, 1)),
        ([1.0, 1.5, np.nan], (1, 1, 0, 1, 0)),
        (pd.Series([1, 2, None], dtype="Int64"), (1, 1, 0, 1, 0)),
        ([1, True, 1.0, "1", "True", False, Decimal("1.0")], (0, 1, 2, 4, 0)),
        (np.array([True, False]), (0, 1, 1, 0, 0)),
        (pd.Categorical(["UA", None]), (1, 0, 0, 0, 1)),
        ([date(2013, 1, 1), [1], b"UA"], (0, 3, 0, 0, 0)),
        (pd.to_datetime(["2013-01-01"]), (0, 1, 0, 0, 0)),
        (pd.Series(["UA", None], dtype="string"), (1, 0, 0, 0, 1)),
        ([None, None], (2, 0, 0, 0, 0)),
        ([], (0, 0, 0, 0, 0)),
    ],
)
def test_categories(column: Any, counts: tuple[int, ...]) -> None:
    assert count_column(NAMES, pd.Series(column)) == counts


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
def test_chunks_neither_lose_nor_repeat_a_row(size: int) -> None:
    values = np.arange(size, dtype=np.float64)
    bins = NumericBins(edges=(65_534.0, 65_535.0, 65_536.0))
    places = np.searchsorted(bins.edges, values, side="left")
    assert count_column(bins, pd.Series(values))[2:] == tuple(np.bincount(places, minlength=4))


def test_an_atom_is_taken_out_of_its_interval_also_at_an_edge() -> None:
    bins = NumericBins(atoms=(1.0, 1.5, 9.0), edges=(1.0, 2.0))
    values = [1.0, 1.0, 1.5, 9.0, 1.2, 0.0, 3.0, 2.0]
    assert count_column(bins, pd.Series(values)) == (0, 0, 2, 1, 1, 1, 2, 1)


@pytest.mark.parametrize("text", ["1_000", "1e", "e1", ".", "", "+", "0x1", "१", "1 2", "infinity", "1e5\n"])
def test_what_is_no_number(text: str) -> None:
    assert number(text) == np.inf


def test_a_reference_of_dates_as_categories_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="Write it as text in the feature builder"):
        fit_bins(pd.DataFrame({"day": [date(2013, 1, 1)]}), numeric=[], categorical=["day"])


def test_a_profile_of_a_later_form_is_refused() -> None:
    data = fit_profile(pd.DataFrame({"x": [-0.0, 1.0]}), numeric=["x"]).to_dict()
    assert Profile.model_validate(data).to_dict() == data
    assert "-0.0" not in str(data)
    with pytest.raises(ValidationError, match="schema_version"):
        Profile.model_validate(data | {"schema_version": 2})
