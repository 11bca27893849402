"""Every engine counts the same integers as pandas does, on data chosen to be nasty. A new engine joins ``ENGINES``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.database import PostgresServer
from psycopg import sql

from modelyard.adapters.duckdb_profiler import DuckDbProfiler
from modelyard.adapters.parquet_profiler import ParquetProfiler
from modelyard.adapters.postgres_profiler import PostgresProfiler
from modelyard.core.errors import ConfigError, NotFound, Unavailable
from modelyard.core.profile import CategoricalBins, FeatureProfile, NumericBins, Profile, merge
from modelyard.core.window import Window
from modelyard.drift.counts import count
from modelyard.drift.edges import fit_bins
from modelyard.ports.profiler import Counted, Rows

Count = Callable[[Profile, pa.Table], Counted]
Place = Callable[[pa.Table], tuple[Any, Rows]]
ENGINES = ("parquet", "duckdb files", "duckdb table", "postgres")

_TYPES = {
    pa.float64(): "float8", pa.float32(): "float4", pa.int64(): "int8", pa.int32(): "int4", pa.string(): "text",
    pa.bool_(): "bool", pa.date32(): "date", pa.timestamp("us", "UTC"): "timestamptz", pa.timestamp("us"): "timestamp",
    pa.null(): "text",
}  # fmt: skip


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer) -> str:
    return postgres_server.fresh("profiles")


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres: str) -> Place:
    """Puts an Arrow table where the engine finds it."""

    def put(table: pa.Table) -> tuple[Any, Rows]:
        file = tmp_path / "rows.parquet"
        pq.write_table(table, file, row_group_size=max(1, table.num_rows // 3))
        if request.param == "parquet":
            return ParquetProfiler(), Rows(files=(str(file),))
        if request.param == "duckdb files":
            return DuckDbProfiler(), Rows(files=(str(file),))
        if request.param == "duckdb table":
            with duckdb.connect(str(tmp_path / "db.duckdb")) as db:
                db.register("given", table)
                db.execute("CREATE OR REPLACE TABLE rows AS SELECT * FROM given")
            return DuckDbProfiler(tmp_path / "db.duckdb"), Rows(table="rows")
        _fill(postgres, table)
        return PostgresProfiler(postgres), Rows(table="public.rows")

    return put


def _fill(url: str, table: pa.Table) -> None:
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(f.name), sql.SQL(_TYPES.get(f.type, "numeric"))) for f in table.schema
    )
    with psycopg.connect(url.replace("+psycopg", "")) as db:
        db.execute("DROP TABLE IF EXISTS rows")
        db.execute(sql.SQL("CREATE TABLE rows ({})").format(columns))
        with db.cursor().copy("COPY rows FROM STDIN") as copy:
            for row in zip(*(c.to_pylist() for c in table.columns), strict=True):
                copy.write_row(row)


@pytest.fixture
def counted(place: Place) -> Count:
    def ask(reference: Profile, table: pa.Table) -> Counted:
        engine, rows = place(table)
        return engine.count(reference, rows)

    return ask


def blank(**bins: Any) -> Profile:
    features = tuple(FeatureProfile(name=n, bins=b, counts=(0,) * len(b.labels)) for n, b in bins.items())
    return Profile(n=0, features=features)


def around(values: list[float]) -> list[float]:
    """Each value with its neighbours among 64-bit floats, and where 32-bit rounding turns."""
    found: list[float] = []
    for value in values:
        single = np.float32(value)
        for other in (np.nextafter(single, np.float32(1e38)), np.nextafter(single, np.float32(-1e38))):
            middle = (float(single) + float(other)) / 2
            found += [float(other), middle, float(np.nextafter(middle, np.inf)), float(np.nextafter(middle, -np.inf))]
        found += [value, float(np.nextafter(value, np.inf)), float(np.nextafter(value, -np.inf))]
    return found


EDGES = (-1.5, float(np.float32(0.1)), 1.0, 16777216.0)
ATOMS = (-1.0, 0.0, float(np.float32(0.3)))
ODD = [None, float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1e300, -1e300, 1e-320, -1e-320, 1e-46, 3.4028234e38,
       3.4028235677973362e38, 3.4028235677973366e38, -3.4028235677973362e38, -3.4028235677973366e38]  # fmt: skip


def test_ties_infinities_zeros_and_the_edges_of_32_bits(counted: Count) -> None:
    values = [*around([*EDGES, *ATOMS]), *ODD]
    reference = blank(x=NumericBins(atoms=ATOMS, edges=EDGES))
    found = counted(reference, pa.table({"x": pa.array(values, pa.float64())}))
    assert found == Counted(profile=count(reference, pd.DataFrame({"x": pd.Series(values, dtype="float64")})))
    assert all(found.profile.feature("x").counts)


def test_32_bit_floats(counted: Count) -> None:
    values = np.asarray([v for v in around([*EDGES, *ATOMS]) if abs(v) < 1e38] + [np.nan, np.inf], dtype=np.float32)
    reference = blank(x=NumericBins(atoms=ATOMS, edges=EDGES), c=CategoricalBins(frequent=("0.1", "1"), known=("inf",)))
    found = counted(reference, pa.table({"x": values, "c": values}))
    assert found.profile == count(reference, pd.DataFrame({"x": values, "c": values}))
    assert found.profile.feature("c").counts[-2:] > (0, 0)


def test_integers_booleans_and_decimals_are_numbers(counted: Count) -> None:
    whole = [1, 16777217, 16777216, 2**53 + 1, -(2**62), None]
    exact = [Decimal("0.1"), Decimal("1.0"), Decimal("-1.5"), Decimal("16777217"), None, Decimal("0.3")]
    table = {
        "whole": pa.array(whole, pa.int64()),
        "flag": pa.array([True, False, None, True, True, False]),
        "exact": pa.array(exact, pa.decimal128(20, 4)),
    }
    bins = NumericBins(atoms=ATOMS, edges=EDGES)
    reference = blank(whole=bins, flag=bins, exact=bins)
    frame = pd.DataFrame({"whole": pd.Series(whole, dtype="Int64"), "flag": table["flag"].to_pylist(), "exact": exact})
    found = counted(reference, pa.table(table))
    assert found == Counted(profile=count(reference, frame))


def test_text_where_a_number_is_expected(counted: Count) -> None:
    texts = ["1", " 1 ", "1e3", "1E-3", ".5", "1.", "+2", "-0.0", "1e999", "-1e999", "1e-999", "nan", "NaN", "inf",
             "Infinity", "", " ", "1,5", "1_000", "0x10", "warm", "１", "1\n", "\t1", "true", None]  # fmt: skip
    reference = blank(x=NumericBins(atoms=ATOMS, edges=EDGES))
    found = counted(reference, pa.table({"x": pa.array(texts, pa.string())}))
    assert found.profile == count(reference, pd.DataFrame({"x": texts}))
    assert found.retyped == ("x",)
    assert found.profile.feature("x").rate("invalid") == 16 / len(texts)


def test_categories_are_compared_code_point_by_code_point(counted: Count) -> None:
    texts = [
        "UA",
        "ua",
        "UA ",
        " UA",
        "\u00e9",
        "e\u0301",
        "日本",
        "😀",
        "",
        "'",
        '"',
        "%s",
        "\\",
        "a\nb",
        "NaN",
        "None",
        None,
    ]
    listed = CategoricalBins(frequent=("UA", "\u00e9", "日本", "'", "%s"), known=("", "😀", '"', "\\", "a\nb", "NaN"))
    reference = blank(**{"c": listed, 'odd "näme" %s': listed})
    found = counted(reference, pa.table({"c": texts, 'odd "näme" %s': texts[::-1]}))
    assert found == Counted(profile=count(reference, pd.DataFrame({"c": texts, 'odd "näme" %s': texts[::-1]})))
    assert found.profile.feature("c").counts == (1, 5, 6, 1, 1, 1, 1, 1)


def test_numbers_as_categories(counted: Count) -> None:
    floats = [3.0, -0.0, 0.1, 1e20, float("nan"), float("inf"), None, 2.0**53]
    listed = CategoricalBins(frequent=("3", "0", "0.1"), known=("100000000000000000000", "inf", "True", "nan", "0003"))
    table = {
        "f": pa.array(floats, pa.float64()),
        "i": pa.array([3, 0, 2**53, 2**53 + 1, None, -3, 7, 3], pa.int64()),
        "b": pa.array([True, False, None, True, False, False, False, True]),
    }
    wide = CategoricalBins(frequent=("9007199254740993", "3"), complete=False)
    reference = blank(f=listed, i=wide, b=listed)
    whole = pd.Series(table["i"].to_pylist(), dtype="Int64")
    frame = pd.DataFrame({"f": floats, "i": whole, "b": table["b"].to_pylist()})
    found = counted(reference, pa.table(table))
    assert found == Counted(profile=count(reference, frame))
    assert found.profile.feature("i").counts == (1, 0, 4, 1, 2)


def test_columns_that_vanished_came_or_changed_their_type(counted: Count) -> None:
    days = [date(2013, 1, 1), None]
    listed = CategoricalBins(frequent=("UA",))
    reference = blank(gone=NumericBins(edges=(1.0,)), lost=listed, x=NumericBins(), c=listed)
    table = pa.table({"x": pa.array(days, pa.date32()), "c": pa.array(days, pa.date32()), "new": [1, 2]})
    found = counted(reference, table)
    assert (found.vanished, found.retyped, found.added) == (("gone", "lost"), ("x", "c"), ("new",))
    assert found.profile == count(reference, table.to_pandas(date_as_object=True))
    assert [f.counts[:2] for f in found.profile.features] == [(2, 0), (2, 0), (1, 1), (1, 1)]


def test_all_null_and_constant_columns_and_no_rows_at_all(counted: Count) -> None:
    reference = blank(n=NumericBins(edges=(0.0,)), t=CategoricalBins(frequent=("a",)), k=NumericBins(atoms=(7.0,)))
    table = pa.table({"n": pa.nulls(5, pa.float64()), "t": pa.nulls(5, pa.string()), "k": pa.array([7.0] * 5)})
    found = counted(reference, table)
    assert [f.counts for f in found.profile.features] == [(5, 0, 0, 0), (5, 0, 0, 0), (0, 0, 5, 0)]
    assert counted(reference, table.slice(0, 0)).profile == reference


def test_a_million_categories(counted: Count) -> None:
    """As many distinct texts as rows, against 10,000 listed ones: counted in the engine, never fetched."""
    n = 1_000_000
    texts = pa.array([f"k{i}" for i in range(n)])
    listed = CategoricalBins(
        frequent=tuple(f"k{i}" for i in range(50)), known=tuple(f"k{i}" for i in range(50, 10_000))
    )
    found = counted(blank(c=listed), pa.table({"c": texts}))
    assert found.profile.feature("c").counts == (0, n - 10_000, 9_950, *(1,) * 50)


def test_random_rows_and_any_partition_of_them(counted: Count) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "temp": np.where(rng.random(3000) < 0.1, np.nan, rng.normal(10, 5, 3000).round(1)),
            "rain": np.where(rng.random(3000) < 0.9, 0.0, rng.exponential(1.0, 3000)),
            "carrier": rng.choice(["UA", "AA", "日本"], 3000),
        }
    )
    reference = fit_bins(frame.iloc[:1000], numeric=["temp", "rain"], categorical=["carrier"])
    whole = counted(reference, pa.Table.from_pandas(frame, preserve_index=False)).profile
    parts = [
        counted(reference, pa.Table.from_pandas(frame.iloc[a:b])).profile for a, b in ((0, 7), (7, 1999), (1999, 3000))
    ]
    assert whole == count(reference, frame) == merge(parts[2], parts[0], parts[1])


class TestWindows:
    START = datetime(2013, 5, 1, 12, tzinfo=UTC)

    def table(self) -> pa.Table:
        moments = [self.START + timedelta(minutes=30 * i) for i in range(-2, 4)]
        return pa.table({"at": pa.array(moments, pa.timestamp("us", "UTC")), "x": [float(i) for i in range(6)]})

    def test_a_window_is_closed_at_its_start_and_open_at_its_end(self, place: Place) -> None:
        engine, rows = place(self.table())
        asked = Rows(**{**rows.model_dump(), "time": "at", "window": Window.last(timedelta(hours=1), self.START)})
        reference = blank(x=NumericBins(edges=(0.5, 1.5)))
        if isinstance(engine, ParquetProfiler):
            with pytest.raises(ConfigError, match="DuckDbProfiler"):
                engine.count(reference, asked)
            return
        assert engine.count(reference, asked) == Counted(profile=count(reference, pd.DataFrame({"x": [0.0, 1.0]})))

    @pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.string(), pa.float64()], ids=str)
    def test_a_time_without_a_zone_is_refused(self, place: Place, kind: pa.DataType) -> None:
        """An engine would read it in the time zone of its session, or not at all."""
        at = self.table()["at"]
        given = at.cast(kind) if kind != pa.float64() else at.cast(pa.int64()).cast(kind)
        engine, rows = place(self.table().set_column(0, "at", given))
        asked = Rows(**{**rows.model_dump(), "time": "at", "window": Window.last(timedelta(hours=1), self.START)})
        if not isinstance(engine, ParquetProfiler):
            with pytest.raises(ConfigError, match="time zone"):
                engine.count(blank(x=NumericBins()), asked)

    def test_nanoseconds_are_moments_too(self, tmp_path: Path) -> None:
        table = self.table()
        table = table.set_column(0, "at", table["at"].cast(pa.timestamp("ns", "UTC")))
        pq.write_table(table, tmp_path / "rows.parquet")
        window = Window.last(timedelta(hours=1), self.START)
        rows = Rows(files=(str(tmp_path / "rows.parquet"),), time="at", window=window)
        assert DuckDbProfiler().count(blank(x=NumericBins()), rows).profile.n == 2

    def test_a_time_column_that_is_not_there_is_named(self, place: Place) -> None:
        engine, rows = place(self.table())
        if not isinstance(engine, ParquetProfiler):
            with pytest.raises(NotFound, match="att"):
                engine.count(blank(x=NumericBins()), Rows(**{**rows.model_dump(), "time": "att"}))


def test_places_that_are_not_there_are_named(postgres: str, tmp_path: Path) -> None:
    reference = blank(x=NumericBins())
    for files in (ParquetProfiler(), DuckDbProfiler()):
        with pytest.raises(NotFound, match="nowhere"):
            files.count(reference, Rows(files=("/nowhere.parquet",)))
        with pytest.raises(ConfigError, match=r"rows\.table"):
            files.count(reference, Rows(table="t"))
    with pytest.raises(NotFound, match="no_such"):
        PostgresProfiler(postgres).count(reference, Rows(table="no_such"))
    with pytest.raises(ConfigError, match=r"rows\.files"):
        PostgresProfiler(postgres).count(reference, Rows(files=("f",)))
    with pytest.raises(Unavailable):
        PostgresProfiler("postgresql+psycopg://nobody@127.0.0.1:1/none").count(reference, Rows(table="t"))
    (tmp_path / "text").write_text("a,b")
    with pytest.raises(ConfigError, match="a Parquet file"):
        ParquetProfiler().count(reference, Rows(files=(str(tmp_path / "text"),)))


def test_files_of_different_types_are_counted_each_by_its_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"c": [3.0, 4.0], "old": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"c": ["3", "3.0"], "x": [1.0, None]}), tmp_path / "b.parquet")
    reference = blank(c=CategoricalBins(frequent=("3",)), x=NumericBins(), never=NumericBins())
    rows = Rows(files=(str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")))
    for engine in (ParquetProfiler(), DuckDbProfiler()):
        found = engine.count(reference, rows)
        assert [f.counts for f in found.profile.features] == [(0, 2, 0, 2), (3, 0, 1), (4, 0, 0)]
        assert (found.vanished, found.added) == (("never",), ("old",))


def test_rows_lie_in_one_place() -> None:
    for wrong in ({}, {"files": ("a",), "table": "t"}, {"table": "t", "window": Window.parse("2013-01-01/2013-01-02")}):
        with pytest.raises(ValueError, match=r"give one|event time"):
            Rows(**wrong)
