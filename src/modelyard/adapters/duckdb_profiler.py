"""Profiles counted by DuckDB, from Parquet files or from a table of a database: each value is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.adapters import sql_counts
from modelyard.adapters.parquet_files import by_schema
from modelyard.adapters.sql_counts import Kind
from modelyard.core.errors import ConfigError, NotFound
from modelyard.core.profile import CategoricalBins, FeatureProfile, NumericBins, Profile
from modelyard.drift.counts import NUMBER_PATTERN, unlisted
from modelyard.ports.profiler import Counted, Rows, merge_counted

Counts = dict[str, tuple[int, ...]]

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_KINDS: dict[str, Kind] = {
    **{name: "integer" for whole in _INTEGERS for name in (whole, f"U{whole}")},
    "FLOAT": "single", "DOUBLE": "double", "BOOLEAN": "boolean", "VARCHAR": "text", '"NULL"': "null",
}  # fmt: skip
# Through text, a decimal is rounded once; DuckDB's own cast divides two rounded numbers.
_AS_NUMBER: dict[Kind, str] = {
    "decimal": "CAST(CAST({c} AS VARCHAR) AS DOUBLE)",
    "text": (
        "CASE WHEN {c} IS NULL THEN NULL WHEN regexp_full_match(trim({c}, ' '), '" + NUMBER_PATTERN + "') "
        "THEN coalesce(TRY_CAST(trim({c}, ' ') AS DOUBLE), 'inf'::DOUBLE) ELSE 'inf'::DOUBLE END"
    ),
    "other": "CASE WHEN {c} IS NULL THEN NULL ELSE 'inf'::DOUBLE END",
}
_AS_CATEGORY: dict[Kind, str] = {
    "integer": "CAST({c} AS HUGEINT)",
    "single": "CASE WHEN isnan({c}) THEN NULL ELSE {c} END",
    "double": "CASE WHEN isnan({c}) THEN NULL ELSE {c} END",
    "decimal": _AS_NUMBER["decimal"],
    "other": "CASE WHEN {c} IS NULL THEN NULL ELSE '' END",
}
_MOMENTS = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS", "TIMESTAMP_NS WITH TIME ZONE")
_KEY_TYPES: dict[Kind, str] = {"integer": "HUGEINT", "single": "FLOAT", "boolean": "BOOLEAN", "text": "VARCHAR",
                               "other": "VARCHAR", "null": "VARCHAR"}  # fmt: skip


# Names are quoted, and all else that is put into a query comes from this file: hence the S608 waivers.


class DuckDbProfiler:
    """``ports.profiler.Profiler``. ``database`` is the file that tables lie in; without one, only files are read.

    DuckDB works within ``memory`` (its own limit; the process needs some 100 MB besides) and with ``threads``.
    """

    def __init__(self, database: Path | None = None, *, threads: int = 2, memory: str = "300MB") -> None:
        self._database = database
        # The ICU extension, which sets time zones, would be fetched from the network; it is not needed.
        offline = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        self._config: dict[str, Any] = {**offline, "threads": threads, "memory_limit": memory}

    def count(self, reference: Profile, rows: Rows) -> Counted:
        """Count the rows in the reference's bins."""
        if not rows.table:
            groups = [files for _, files in by_schema(rows)]
            return merge_counted(*(self._count(reference, rows, _parquet(files)) for files in groups))
        if self._database is None:
            raise ConfigError("rows.table", rows.table, "files", hint="This profiler has no database to look into.")
        return self._count(reference, rows, ".".join(map(_name, rows.table.split("."))))

    def _count(self, reference: Profile, rows: Rows, source: str) -> Counted:
        with self._connect() as db:
            types = _columns(db, source, rows)
            kinds = {name: _kind(kind) for name, kind in types.items()}
            sql_counts.check_time(rows, types, _MOMENTS)
            here = [f for f in reference.features if f.name in kinds]
            n = _scalar(db, f"SELECT count(*) FROM {source} {_within(rows)}", rows)  # noqa: S608
            counts = _numbers(db, here, kinds, source, rows, n) | _categories(db, here, kinds, source, rows)
        return sql_counts.counted(reference, kinds, counts, n, time=rows.time)

    def _connect(self) -> Any:
        import duckdb

        if self._database is None:
            return duckdb.connect(config=self._config)
        if not self._database.is_file():
            raise NotFound("DuckDB database", self._database)
        return duckdb.connect(str(self._database), read_only=True, config=self._config)


def _columns(db: Any, source: str, rows: Rows) -> dict[str, str]:
    """What DuckDB calls the type of each column."""
    import duckdb

    try:
        found = db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
    except duckdb.CatalogException as error:
        raise NotFound("table", rows.table) from error
    return {name: kind for name, kind, *_ in found}


def _kind(kind: str) -> Kind:
    if kind.startswith("DECIMAL"):
        return "decimal"
    return "text" if kind.startswith("ENUM") else _KINDS.get(kind, "other")


def _numbers(
    db: Any, features: Sequence[FeatureProfile], kinds: Mapping[str, Kind], source: str, rows: Rows, n: int
) -> Counts:
    """All numeric features in one query: for each, its nulls and NaNs, and how many values each limit is not below."""
    numeric = [(f.name, f.bins) for f in features if isinstance(f.bins, NumericBins)]
    if not numeric:
        return {}
    inner, outer = [], []
    for place, (name, bins) in enumerate(numeric):
        value = _AS_NUMBER.get(kinds[name], "CAST({c} AS DOUBLE)").format(c=_name(name))
        inner.append(f"{value} AS v{place}")
        compared = (f"coalesce(count_if(v{place} <= '{bound!r}'::DOUBLE), 0)" for bound in sql_counts.limits(bins))
        outer.append(f"[count(v{place}) - coalesce(count_if(isnan(v{place})), 0), {', '.join(compared)}]")
    query = f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {source} {_within(rows)})"  # noqa: S608
    found = db.execute(query, _moments(rows)).fetchone()
    return {
        name: sql_counts.recovered(bins, n, n - usable, at_most)
        for (name, bins), (usable, *at_most) in zip(numeric, found, strict=True)
    }


def _categories(
    db: Any, features: Sequence[FeatureProfile], kinds: Mapping[str, Kind], source: str, rows: Rows
) -> Counts:
    """All categorical features in one query: categories become bins by a join, and bins are grouped."""
    categorical = [(f.name, f.bins) for f in features if isinstance(f.bins, CategoricalBins)]
    if not categorical:
        return {}
    inner, joins, found_places = [], [], []
    for place, (name, bins) in enumerate(categorical):
        kind = kinds[name]
        _known(db, f"k{place}", sql_counts.keys(bins, kind), _KEY_TYPES.get(kind, "DOUBLE"))
        inner.append(f"{_AS_CATEGORY.get(kind, '{c}').format(c=_name(name))} AS v{place}")
        joins.append(f"LEFT JOIN k{place} ON v{place} = k{place}.key")
        otherwise = f"coalesce(k{place}.place, {unlisted(bins)})"
        found_places.append(f"CASE WHEN v{place} IS NULL THEN 0 ELSE {otherwise} END AS p{place}")
    names = [f"p{place}" for place in range(len(categorical))]
    given = f"(SELECT {', '.join(inner)} FROM {source} {_within(rows)})"  # noqa: S608
    placed = f"SELECT {', '.join(found_places)} FROM {given} {' '.join(joins)}"  # noqa: S608
    sets = ", ".join(f"({name})" for name in names)
    query = f"SELECT {', '.join(names)}, count(*) FROM ({placed}) GROUP BY GROUPING SETS ({sets})"  # noqa: S608
    counts = [[0] * len(bins.labels) for _, bins in categorical]
    for *at, times in db.execute(query, _moments(rows)).fetchall():
        feature = next(i for i, bin_ in enumerate(at) if bin_ is not None)
        counts[feature][at[feature]] += times
    return {name: tuple(found) for (name, _), found in zip(categorical, counts, strict=True)}


def _known(db: Any, table: str, known: Mapping[Any, int], kind: str) -> None:
    db.execute(f"CREATE TEMP TABLE {table} (key {kind}, place INTEGER)")
    if known:
        # As text: a Python integer beyond 64 bits has no other way in.
        asked = f"INSERT INTO {table} SELECT CAST(unnest(?) AS {kind}), unnest(?)"
        db.execute(asked, [[_text(key) for key in known], list(known.values())])


def _text(key: Any) -> str:
    return key if isinstance(key, str) else repr(key)


def _scalar(db: Any, query: str, rows: Rows) -> int:
    return int(db.execute(query, _moments(rows)).fetchone()[0])


def _within(rows: Rows) -> str:
    # Nanoseconds, which pandas writes, are not compared with microseconds by themselves.
    moment = f"CAST({_name(rows.time)} AS TIMESTAMPTZ)"
    return f"WHERE {moment} >= $start AND {moment} < $end" if rows.window else ""


def _moments(rows: Rows) -> dict[str, Any]:
    return {"start": rows.window.start, "end": rows.window.end} if rows.window else {}


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _parquet(files: Sequence[str]) -> str:
    names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"
