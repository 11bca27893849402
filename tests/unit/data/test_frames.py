"""The canonical form of a frame: the same rows, the same digest; half a file is never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelyard.core.errors import ConfigError, IntegrityError
from modelyard.data.frames import canonical, content_digest, read_parquet, write_parquet

ROWS = pd.DataFrame(
    {
        "key": ["b", "a", "c"],
        "at": pd.to_datetime(["2013-01-02", "2013-01-01", "2013-01-03"], utc=True),
        "x": [1.0, np.nan, -0.0],
        "n": [1, 2, 3],
        "flag": [True, False, True],
        "text": ["é", None, ""],
    }
)


def digest(frame: pd.DataFrame, name: str = "") -> str:
    return content_digest(canonical(frame, "key"), name=name)


def test_order_of_rows_and_columns_is_no_difference() -> None:
    assert digest(ROWS) == digest(ROWS.sample(frac=1, random_state=1)[list(ROWS.columns[::-1])])


def test_a_file_in_between_is_no_difference(tmp_path: Path) -> None:
    first, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_parquet(canonical(ROWS, "key"), first)
    canonical(ROWS, "key").to_parquet(other, compression="gzip", engine="pyarrow")
    assert first.read_bytes() != other.read_bytes()
    assert digest(ROWS) == digest(read_parquet(first)) == digest(read_parquet(other))


def test_units_and_widths_of_types_are_no_difference() -> None:
    same = ROWS.astype({"at": "datetime64[ms, UTC]", "n": "int32"})
    same["at"] = same["at"].dt.tz_convert("America/New_York")
    assert digest(ROWS) == digest(same.assign(x=[1.0, float("nan"), 0.0]))


@pytest.mark.parametrize(
    "change",
    [
        {"x": [1.0, 2.0, 0.0]},
        {"n": [1, 2, 4]},
        {"n": [1.0, 2.0, 3.0]},
        {"flag": [True, True, True]},
        {"text": ["é", "", ""]},
        {"text": ["", "é", ""]},
        {"key": ["b", "a", "d"]},
    ],
)
def test_any_other_value_or_type_is_a_difference(change: dict[str, list[object]]) -> None:
    assert digest(ROWS) != digest(ROWS.assign(**change))


def test_text_cannot_flow_from_one_row_into_the_next() -> None:
    one = pd.DataFrame({"key": ["a", "b"], "t": ["xy", "z"]})
    assert digest(one) != digest(one.assign(t=["x", "yz"]))


def test_equal_rows_of_two_models_are_two_things() -> None:
    assert digest(ROWS, "one") != digest(ROWS, "two")


def test_a_key_names_each_row_once() -> None:
    with pytest.raises(IntegrityError, match="repeated: a"):
        canonical(pd.concat([ROWS, ROWS.iloc[1:2]]), "key")
    with pytest.raises(IntegrityError, match="missing"):
        canonical(ROWS.assign(key=["a", None, "b"]), "key")


def test_naive_times_and_objects_are_refused() -> None:
    with pytest.raises(ConfigError, match="naive times are refused"):
        canonical(ROWS.assign(at=pd.Timestamp("2013-01-01")), "key")
    with pytest.raises(ConfigError, match="numbers, flags, text"):
        canonical(ROWS.assign(text=[{}, {}, {}]), "key")
    with pytest.raises(ConfigError, match="'id'"):
        canonical(ROWS, "id")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(canonical(ROWS, "key"), path)
    before = path.read_bytes()
    with pytest.raises(pa.ArrowException):
        write_parquet(pd.DataFrame({"mixed": [1, "a"]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
