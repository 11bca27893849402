"""Feast's forms without Feast, and reading all views of a batch in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import IntegrityError
from modelyard.features.online import OnlineReader, View, decode, encode, entity_key

pytestmark = pytest.mark.anyio
NOW = datetime(2013, 4, 9, 12, tzinfo=UTC)
AIR = View("air", "modelyard_toy__air", "site", "place", timedelta(hours=3), ("temp", "wind"))
SITE = View("site", "modelyard_toy__site", "site", "home", None, ("size",))


@given(st.one_of(st.floats(allow_nan=False), st.text(max_size=300)))
def test_what_is_written_is_read(value: float | str) -> None:
    assert decode(encode(value)) == value


def test_numbers_and_flags_of_other_writers_are_read() -> None:
    assert decode(bytes.fromhex("350000c03f")) == 1.5
    assert decode(bytes.fromhex("20fdffffffffffffffff01")) == -3.0
    assert decode(bytes.fromhex("1807")) == 7.0
    assert decode(bytes.fromhex("3801")) == 1.0


@pytest.mark.parametrize("value", ["0a0161", "18ff", "5a00"])
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(IntegrityError):
        decode(bytes.fromhex(value))


class Store:
    """The tables, in memory; keeps what was asked."""

    def __init__(self, rows: list[tuple[int, bytes, str, bytes, datetime]]) -> None:
        self.rows, self.asked = rows, []

    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
        self.asked.append((query, args))
        return [row for row in self.rows if row[1] in args[row[0]]]


def stored(place: int, site: str, feature: str, value: float | None, age_hours: float = 0) -> tuple[Any, ...]:
    return place, entity_key("site", site), feature, encode(value), NOW - timedelta(hours=age_hours)


async def test_one_statement_reads_all_views_of_all_rows() -> None:
    store = Store([stored(0, "a", "temp", 1.0), stored(0, "a", "wind", None), stored(1, "b", "size", 9.0, 1000)])
    reader = OnlineReader(store, [AIR, SITE])
    first, second = await reader.read([{"place": "a", "home": "b"}, {"place": "a", "home": "z"}], [NOW, NOW])
    assert first.values == {"temp": 1.0, "wind": None, "size": 9.0}
    assert (first.missing, first.expired) == ((), ())
    assert second.missing == ("size",)
    (query, args) = store.asked[0]
    assert len(store.asked) == 1
    assert query.count("SELECT") == 2
    assert args == ([entity_key("site", "a")], [entity_key("site", "b"), entity_key("site", "z")])


async def test_what_is_past_its_time_to_live_is_expired_and_not_served() -> None:
    store = Store([stored(0, "a", "temp", 1.0, 3), stored(0, "a", "wind", 2.0, 3.01)])
    (row,) = await OnlineReader(store, [AIR]).read([{"place": "a"}], [NOW])
    assert row.values == {"temp": 1.0, "wind": None}
    assert row.expired == ("wind",)


async def test_a_model_without_views_asks_nothing() -> None:
    store = Store([])
    assert (await OnlineReader(store, []).read([{}], [NOW]))[0].values == {}
    assert not store.asked
