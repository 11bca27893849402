"""Feast's PostgreSQL online store, with writes that are one statement per view and never go back in time.

Feast loads this module by the name in ``feature_store.yaml``; nothing else imports it, so that Feast may be imported
at module scope here. Feast's own store writes value by value and lets an older row replace a newer one, so that
materialising after a push would undo the push.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from feast import FeatureView, RepoConfig  # noqa: TID253
from feast.infra.key_encoding_utils import serialize_entity_key  # noqa: TID253
from feast.infra.online_stores.helpers import compute_table_id  # noqa: TID253
from feast.infra.online_stores.postgres_online_store.postgres import (  # noqa: TID253
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from psycopg import sql
from pydantic import field_validator

_CHUNK = 20_000
_INSERT = sql.SQL(
    "INSERT INTO {table} AS kept (entity_key, feature_name, value, event_ts) "
    "SELECT * FROM unnest(%s::bytea[], %s::text[], %s::bytea[], %s::timestamptz[]) "
    "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = EXCLUDED.value, event_ts = EXCLUDED.event_ts "
    "WHERE kept.event_ts <= EXCLUDED.event_ts"
)
Value = tuple[bytes, str, bytes, datetime]


class MonotonePostgresOnlineStoreConfig(PostgreSQLOnlineStoreConfig):  # type: ignore[misc]
    """The parent's configuration under our class's name."""

    type: Literal["postgres"] = "postgres"

    @field_validator("type", mode="before")
    @classmethod
    def _parent_type(cls, _: object) -> str:
        # Feast chose this class by the full name already; its parent insists on its own short one.
        return "postgres"


class MonotonePostgresOnlineStore(PostgreSQLOnlineStore):  # type: ignore[misc]
    """Feast's store with its own way of writing; reading and tables are Feast's."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Any],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write the newest row of each entity, unless the store has a newer one."""
        name = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
        statement = _INSERT.format(table=sql.Identifier(name))
        values = list(_values(data, config.entity_key_serialization_version))
        with self._get_conn(config) as connection, connection.cursor() as cursor:
            for start in range(0, len(values), _CHUNK):
                columns = zip(*values[start : start + _CHUNK], strict=True)
                cursor.execute(statement, [list(column) for column in columns])
            connection.commit()
        if progress:
            progress(len(data))


def _values(data: list[Any], version: int) -> Iterator[Value]:
    newest: dict[bytes, tuple[datetime, Any]] = {}
    for entity, features, moment, _ in data:
        key = serialize_entity_key(entity, entity_key_serialization_version=version)
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        if key not in newest or newest[key][0] <= aware:
            newest[key] = (aware, features)
    for key, (moment, features) in newest.items():
        for name, value in features.items():
            yield key, name, value.SerializeToString(), moment
