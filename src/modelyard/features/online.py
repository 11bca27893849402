"""Feast's PostgreSQL online store without Feast: its forms, and one statement for all views of a batch of rows.

The entity keys (serialisation version 3) and the values (protocol buffers) are Feast's own forms; a test against
Feast's SDK on a real database pins both. The gateway reads through this, and never imports Feast.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from modelyard.config.project import ModelSpec
from modelyard.core.errors import IntegrityError

FEAST_PROJECT = "modelyard"
_STRING = 2
"""``ValueType.STRING``."""
_DOUBLE_TAG, _DOUBLE = 0x29, struct.Struct("<d")

Scalar = float | str | None
_EVER = datetime.min.replace(tzinfo=UTC)


def view_name(model: str, view: str) -> str:
    """A view's name in Feast, where the models share one project."""
    return f"{model}__{view}"


def table_name(model: str, view: str) -> str:
    """The view's table in the online store."""
    return f"{FEAST_PROJECT}_{view_name(model, view)}"


@lru_cache(maxsize=65_536)
def entity_key(join_key: str, value: str) -> bytes:
    """The key of one entity as Feast stores it.

    >>> entity_key("origin", "EWR").hex()
    '0100000002000000060000006f726967696e0200000003000000455752'
    """
    name, text = join_key.encode(), value.encode()
    head = struct.pack("<III", 1, _STRING, len(name))
    return head + name + struct.pack("<II", _STRING, len(text)) + text


def encode(value: Scalar) -> bytes:
    """A number or text as a ``feast.types.Value``; nothing at all for None and NaN.

    >>> encode(1.5).hex(), encode("JFK").hex(), encode(float("nan"))
    ('29000000000000f83f', '12034a464b', b'')
    """
    if value is None or value != value:
        return b""
    if isinstance(value, str):
        text = value.encode()
        return b"\x12" + _as_varint(len(text)) + text
    return b"\x29" + struct.pack("<d", value)


def _as_varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def decode(value: bytes) -> Scalar:
    """A ``feast.types.Value`` of a number, a flag or text; None for an empty one.

    Raises:
        IntegrityError: the bytes are of another type.

    >>> decode(bytes.fromhex("29000000000000f83f")), decode(b"")
    (1.5, None)
    """
    if not value:
        return None
    if value[0] == _DOUBLE_TAG and len(value) == 9:  # most of them
        return float(_DOUBLE.unpack_from(value, 1)[0])
    field, wire = value[0] >> 3, value[0] & 7
    body = value[1:]
    match field, wire:
        case 2, 2:
            length, text = _varint(body)
            return text[:length].decode()
        case 3 | 4 | 7, 0:
            number, _ = _varint(body)
            return float(number - (1 << 64) if number >= 1 << 63 else number)
        case 5, 1:
            return float(struct.unpack("<d", body)[0])
        case 6, 5:
            return float(struct.unpack("<f", body)[0])
    raise IntegrityError(f"an online value of field {field} (wire type {wire}) is no number, flag or text")


def _varint(data: bytes) -> tuple[int, bytes]:
    number = shift = 0
    for place, byte in enumerate(data):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, data[place + 1 :]
        shift += 7
    raise IntegrityError("an online value ends in the middle of a number")


@dataclass(frozen=True)
class View:
    """What reading a view needs: its table, the join key and the request's field that holds it, its time to live."""

    name: str
    table: str
    join_key: str
    field: str
    ttl: timedelta | None
    features: tuple[str, ...]


def views_of(spec: ModelSpec) -> tuple[View, ...]:
    """The views of a model."""
    return tuple(
        View(
            name=name,
            table=table_name(spec.name, name),
            join_key=spec.feature_views[name].entity,
            field=spec.entities[spec.feature_views[name].entity],
            ttl=timedelta(hours=ttl) if (ttl := spec.feature_views[name].ttl_hours) else None,
            features=spec.of(source=name),
        )
        for name in spec.views
    )


@dataclass(frozen=True)
class Looked:
    """One row's features, with the names of those that the store did not have and of those past their time to live.

    Both are None in ``values``; they are counted, never served.
    """

    values: dict[str, Scalar]
    missing: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


class Pool(Protocol):
    """What is used of ``asyncpg.Pool``."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
        """Rows of (view's place, entity key, feature, value, event time)."""


class OnlineReader:
    """Reads the features of a batch of rows in one round trip."""

    def __init__(self, pool: Pool, views: Sequence[View]) -> None:
        self._pool, self._views = pool, tuple(views)
        self._query = " UNION ALL ".join(
            # Names come from model.yaml, whose pattern they have passed; values are parameters.
            f'SELECT {place}, entity_key, feature_name, value, event_ts FROM "{view.table}" '  # noqa: S608
            f"WHERE entity_key = ANY(${place + 1}::bytea[])"
            for place, view in enumerate(self._views)
        )

    async def read(self, rows: Sequence[Mapping[str, Any]], moments: Sequence[datetime]) -> list[Looked]:
        """The features of each row as of its moment (by which times to live are counted)."""
        if not self._views:
            return [Looked({}) for _ in rows]
        keys = [[entity_key(view.join_key, str(row[view.field])) for row in rows] for view in self._views]
        found: dict[tuple[int, bytes], dict[str, tuple[bytes, datetime]]] = {}
        for place, key, feature, value, moment in await self._pool.fetch(self._query, *map(_unique, keys)):
            found.setdefault((place, bytes(key)), {})[feature] = (value, moment)
        return [
            self._row([found.get((place, column[number]), {}) for place, column in enumerate(keys)], moment)
            for number, moment in enumerate(moments)
        ]

    def _row(self, found: Sequence[Mapping[str, tuple[bytes, datetime]]], moment: datetime) -> Looked:
        values: dict[str, Scalar] = {}
        missing, expired = [], []
        for view, stored in zip(self._views, found, strict=True):
            oldest = _EVER if view.ttl is None else moment - view.ttl
            for feature in view.features:
                values[feature] = None
                if feature not in stored:
                    missing.append(feature)
                    continue
                value, at = stored[feature]
                if at < oldest:
                    expired.append(feature)
                else:
                    values[feature] = decode(value)
        return Looked(values, tuple(missing), tuple(expired))


def _unique(keys: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(keys))
