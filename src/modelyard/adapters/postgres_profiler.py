"""Profiles counted by PostgreSQL, in the database that holds the rows: nothing but counts leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from modelyard.adapters import sql_counts
from modelyard.adapters.sql_counts import Kind
from modelyard.core.errors import ConfigError, NotFound, Unavailable
from modelyard.core.profile import CategoricalBins, FeatureProfile, NumericBins, Profile
from modelyard.drift.counts import NUMBER_PATTERN, unlisted
from modelyard.ports.profiler import Counted, Rows

Counts = dict[str, tuple[int, ...]]

# By the numbers of the built-in types, which are the same in every PostgreSQL (pg_type.dat).
_KINDS: dict[int, Kind] = {16: "boolean", 20: "integer", 21: "integer", 23: "integer", 700: "single", 701: "double",
                           1700: "decimal", 18: "text", 19: "text", 25: "text", 1042: "text", 1043: "text"}  # fmt: skip
# PostgreSQL refuses to cast what a 64-bit float does not hold, where Python answers an infinity or zero.
_AS_NUMBER: dict[Kind, LiteralString] = {
    "boolean": "{c}::int::float8",
    "decimal": (
        "CASE WHEN {c} = 'NaN' THEN NULL WHEN abs({c}) > 1e300 THEN 'Infinity'::float8 "
        "WHEN abs({c}) < 1e-300 THEN 0::float8 ELSE {c}::float8 END"
    ),
    "text": (
        "CASE WHEN {c} IS NULL THEN NULL WHEN btrim({c}::text, ' ') !~ {pattern} THEN 'Infinity'::float8 "
        "WHEN pg_input_is_valid(btrim({c}::text, ' '), 'float8') THEN btrim({c}::text, ' ')::float8 "
        "WHEN {c}::text ~ '[eE]-' THEN 0::float8 ELSE 'Infinity'::float8 END"
    ),
    "other": "CASE WHEN {c} IS NULL THEN NULL ELSE 'Infinity'::float8 END",
}
_AS_CATEGORY: dict[Kind, LiteralString] = {
    "integer": "{c}::numeric",
    "single": "nullif({c}, 'NaN'::float4)",
    "double": "nullif({c}, 'NaN'::float8)",
    "decimal": _AS_NUMBER["decimal"],
    "text": '{c}::text COLLATE "C"',
    "other": "CASE WHEN {c} IS NULL THEN NULL ELSE '' END",
}
_KEY_TYPES: dict[Kind, LiteralString] = {"integer": "numeric", "single": "float4", "double": "float8",
                                         "decimal": "float8", "boolean": "bool"}  # fmt: skip


# Nothing is given as a parameter: the name of a column may hold a percent sign, which would be taken for one.


class PostgresProfiler:
    """``ports.profiler.Profiler`` for tables and views of one database; PostgreSQL 16 or later.

    All that is asked for one profile is read from one snapshot of the database, in a transaction that writes nothing.
    """

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)

    def count(self, reference: Profile, rows: Rows) -> Counted:
        """Count the rows in the reference's bins."""
        import psycopg
        from psycopg.rows import tuple_row

        if not rows.table:
            raise ConfigError("rows.files", rows.files, "a table", hint="Files are counted by DuckDbProfiler.")
        try:
            with psycopg.connect(self._url, row_factory=tuple_row) as db:
                db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return _count(db, reference, rows)
        except psycopg.errors.UndefinedTable as error:
            raise NotFound("table", rows.table) from error
        except psycopg.OperationalError as error:
            raise Unavailable(f"PostgreSQL does not answer: {error}") from error


def _count(db: Any, reference: Profile, rows: Rows) -> Counted:
    from psycopg import sql

    table = sql.SQL(".").join(map(sql.Identifier, rows.table.split(".")))
    described = db.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description
    kinds = _columns(db, described)
    sql_counts.check_time(rows, {c.name: c.type_display.partition("(")[0] for c in described}, ("timestamptz",))
    source = table
    if rows.window:
        within = sql.SQL("(SELECT * FROM {table} WHERE {time} >= {start} AND {time} < {end}) AS chosen")
        start, end = sql.Literal(rows.window.start), sql.Literal(rows.window.end)
        source = within.format(table=table, time=sql.Identifier(rows.time), start=start, end=end)
    here = [f for f in reference.features if f.name in kinds]
    n = int(db.execute(sql.SQL("SELECT count(*) FROM {}").format(source)).fetchone()[0])
    counts = _numbers(db, here, kinds, source, n) | _categories(db, here, kinds, source)
    return sql_counts.counted(reference, kinds, counts, n, time=rows.time)


def _columns(db: Any, described: Any) -> dict[str, Kind]:
    codes = [column.type_code for column in described]
    enums = {row[0] for row in db.execute("SELECT oid FROM pg_type WHERE typtype = 'e' AND oid = ANY(%s)", [codes])}
    return {c.name: "text" if c.type_code in enums else _KINDS.get(c.type_code, "other") for c in described}


def _numbers(db: Any, features: Sequence[FeatureProfile], kinds: Mapping[str, Kind], source: Any, n: int) -> Counts:
    """All numeric features in one query, one array of counts for each."""
    from psycopg import sql

    numeric = [(f.name, f.bins) for f in features if isinstance(f.bins, NumericBins)]
    if not numeric:
        return {}
    inner, outer = [], []
    for place, (name, bins) in enumerate(numeric):
        value, column = sql.Identifier(f"v{place}"), sql.Identifier(name)
        form = sql.SQL(_AS_NUMBER.get(kinds[name], "{c}::float8"))
        written = form.format(c=column, pattern=sql.Literal(f"^({NUMBER_PATTERN})$"))
        inner.append(sql.SQL("{} AS {}").format(written, value))
        compared = [
            sql.SQL("count(*) FILTER (WHERE {} <= {}::float8)").format(value, sql.Literal(repr(bound)))
            for bound in sql_counts.limits(bins)
        ]
        usable = sql.SQL("count(nullif({}, 'NaN'::float8))").format(value)
        outer.append(sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join([usable, *compared])))
    query = sql.SQL("SELECT {} FROM (SELECT {} FROM {}) AS numbers")
    found = db.execute(query.format(sql.SQL(", ").join(outer), sql.SQL(", ").join(inner), source)).fetchone()
    return {
        name: sql_counts.recovered(bins, n, n - usable, at_most)
        for (name, bins), (usable, *at_most) in zip(numeric, found, strict=True)
    }


def _categories(db: Any, features: Sequence[FeatureProfile], kinds: Mapping[str, Kind], source: Any) -> Counts:
    """All categorical features in one query: categories become bins by a join, and bins are grouped."""
    from psycopg import sql

    categorical = [(f.name, f.bins) for f in features if isinstance(f.bins, CategoricalBins)]
    if not categorical:
        return {}
    inner, joins, binned = [], [], []
    for place, (name, bins) in enumerate(categorical):
        value, table, kind = sql.Identifier(f"v{place}"), sql.Identifier(f"k{place}"), kinds[name]
        written = sql.SQL(_AS_CATEGORY.get(kind, "{c}")).format(c=sql.Identifier(name))
        inner.append(sql.SQL("{} AS {}").format(written, value))
        join = "LEFT JOIN unnest({keys}::{type}[], {places}::int[]) AS {table}(key, place) ON {value} = {table}.key"
        known = sql_counts.keys(bins, kind)
        keys, places = sql.Literal(list(map(str, known))), sql.Literal(list(known.values()))
        key_type = sql.SQL(_KEY_TYPES.get(kind, "text"))
        joins.append(sql.SQL(join).format(type=key_type, table=table, value=value, keys=keys, places=places))
        form = "CASE WHEN {value} IS NULL THEN 0 ELSE coalesce({table}.place, {otherwise}) END AS {bin}"
        otherwise = sql.Literal(unlisted(bins))
        binned.append(
            sql.SQL(form).format(value=value, table=table, otherwise=otherwise, bin=sql.Identifier(f"p{place}"))
        )
    names = [sql.Identifier(f"p{place}") for place in range(len(categorical))]
    query = sql.SQL(
        "SELECT {names}, count(*) FROM (SELECT {binned} FROM (SELECT {inner} FROM {source}) AS categories {joins}) "
        "AS placed GROUP BY GROUPING SETS ({sets})"
    ).format(
        names=sql.SQL(", ").join(names),
        binned=sql.SQL(", ").join(binned),
        inner=sql.SQL(", ").join(inner),
        source=source,
        joins=sql.SQL(" ").join(joins),
        sets=sql.SQL(", ").join(sql.SQL("({})").format(name) for name in names),
    )
    counts = [[0] * len(bins.labels) for _, bins in categorical]
    for *at, times in db.execute(query):
        feature = next(i for i, bin_ in enumerate(at) if bin_ is not None)
        counts[feature][at[feature]] += times
    return {name: tuple(found) for (name, _), found in zip(categorical, counts, strict=True)}
