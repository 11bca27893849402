"""Writes to Feast's PostgreSQL online store: all views of an hour in one transaction, and never back in time.

Feast's own writer sends value by value, takes some 40 ms per view, and lets an older row replace a newer one, so that
materialising after a push would undo the push. The tables and the forms are Feast's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from modelyard.config.yaml_file import read_yaml
from modelyard.core.errors import ConfigError, NotFound, Unavailable
from modelyard.features.join import STAMP
from modelyard.features.online import View, encode, entity_key

_CHUNK = 20_000
_INSERT = sql.SQL(
    "INSERT INTO {table} AS kept (entity_key, feature_name, value, event_ts) "
    "SELECT * FROM unnest(%b::bytea[], %t::text[], %b::bytea[], %t::timestamptz[]) "
    "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = EXCLUDED.value, event_ts = EXCLUDED.event_ts "
    "WHERE kept.event_ts <= EXCLUDED.event_ts"
)


def conninfo(feature_repo: Path) -> str:
    """The address of the online store, as ``feature_store.yaml`` and the environment give it.

    Raises:
        ConfigError: the store is not PostgreSQL, or a variable is not set.
    """
    path = feature_repo / "feature_store.yaml"
    store = read_yaml(path).get("online_store") or {}
    if store.get("type") != "postgres":
        raise ConfigError("online_store.type", store.get("type"), "postgres", where=str(path))
    names = {name: name for name in ("host", "port", "user", "password")} | {"database": "dbname"}
    given = {ours: os.path.expandvars(str(store.get(theirs, ""))) for theirs, ours in names.items()}
    for name, value in given.items():
        if not value or "${" in value:
            raise ConfigError(f"online_store.{name}", value, "a value", where=str(path), hint="`make run` sets it.")
    return make_conninfo(**given, connect_timeout=10)


class OnlineWriter:
    """One connection, opened on first use and again after it was lost."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: psycopg.Connection | None = None

    def write(self, tables: Mapping[View, pd.DataFrame]) -> int:
        """Write the newest row of each entity unless the store has a newer one; returns the rows looked at.

        Raises:
            NotFound: a view's table does not exist.
            Unavailable: the database cannot be reached.
        """
        try:
            with self._connected().transaction(), self._connected().cursor() as cursor:
                return sum(_write(cursor, view, rows) for view, rows in tables.items() if not rows.empty)
        except psycopg.errors.UndefinedTable as error:
            raise NotFound("online table", error.diag.message_primary, hint="Build the views first.") from None
        except psycopg.OperationalError as error:
            raise Unavailable(f"the online store does not answer: {error}") from None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._address, autocommit=True)
        return self._connection


def _write(cursor: psycopg.Cursor, view: View, rows: pd.DataFrame) -> int:
    newest = rows.sort_values(STAMP, kind="stable").drop_duplicates(view.join_key, keep="last")
    statement = _INSERT.format(table=sql.Identifier(view.table))
    keys = [entity_key(view.join_key, str(value)) for value in newest[view.join_key]]
    moments = newest[STAMP].dt.strftime("%Y-%m-%dT%H:%M:%S.%f%z").tolist()
    many = len(view.features)
    step = max(1, _CHUNK // many)
    for start in range(0, len(newest), step):
        part = slice(start, start + step)
        names = [name for name in view.features for _ in keys[part]]
        values = [encode(value) for name in view.features for value in newest[name].iloc[part].tolist()]
        cursor.execute(statement, [keys[part] * many, names, values, moments[part] * many])
    return len(newest)
