"""Completing requests: only what is lacking is read, many requests share a statement, nothing is made up."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError, NotFound
from modelyard.features.online import entity_key
from modelyard.release.signature import Input, Signature
from modelyard.serving import online as online_module
from modelyard.serving.errors import Refusal
from modelyard.serving.online import MOST_READS, LazyPool, OnlineStore, store_for

pytestmark = pytest.mark.anyio
NOW = datetime(2013, 4, 9, 12, tzinfo=UTC)
SIGNATURE = Signature(
    model="delays",
    key="flight",
    entities={"weather": {"origin": "from"}},
    inputs=(
        Input(name="distance", kind="numeric", source="request"),
        Input(name="wind", kind="numeric", source="weather", nullable=True, low=0, high=100),
        Input(name="temp", kind="numeric", source="weather", nullable=True),
    ),
)

MODEL_YAML = """
name: delays
description: d
owner: o
source: {file: f.csv, event_time: at, known_at: known, key: flight}
label: {column: late, depends_on_answer: false}
entities: {origin: from}
feature_builder: "features:build"
feature_views: {weather: {entity: origin, ttl_hours: 3}}
features: {wind: {kind: numeric, from: weather}}
"""


class Store:
    """A table in memory, in Feast's forms. ``broken`` makes it fail; statements are counted."""

    def __init__(self, **wind: tuple[float, datetime]) -> None:
        self.rows = {entity_key("origin", origin): value for origin, value in wind.items()}
        self.statements, self.broken = 0, False

    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
        self.statements += 1
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("gone")
        assert '"modelyard_delays__weather"' in query
        found = [(key, self.rows[key]) for key in args[0] if key in self.rows]
        return [(0, key, "wind", b"\x29" + struct.pack("<d", wind), at) for key, (wind, at) in found]


def online(store: Store) -> OnlineStore:
    return OnlineStore(store, lambda *_: timedelta(hours=3))


async def test_what_lacks_is_read_and_what_is_given_is_kept() -> None:
    store = online(Store(EWR=(12.5, NOW)))
    given = [
        {"flight": "a", "from": "EWR"},
        {"flight": "b", "from": "EWR", "wind": 1.0, "temp": None},
        {"flight": "c", "from": "LGA", "wind": None},
    ]
    rows = await store.completion([SIGNATURE]).complete(given, NOW)
    assert rows[0] == {"flight": "a", "from": "EWR", "wind": 12.5, "temp": None}
    assert rows[1] == given[1]
    assert rows[2]["temp"] is None
    assert (store.tally.missing, store.tally.expired) == (2, 0)


async def test_what_is_too_old_or_impossible_is_missing_and_counted() -> None:
    store = online(Store(EWR=(12.5, NOW - timedelta(hours=4)), LGA=(-7.0, NOW)))
    rows = await store.completion([SIGNATURE]).complete([{"from": "EWR"}, {"from": "LGA"}], NOW)
    assert [row["wind"] for row in rows] == [None, None]
    assert (store.tally.expired, store.tally.out_of_bounds) == (1, 1)


async def test_many_requests_share_few_statements() -> None:
    store = Store(EWR=(12.5, NOW))
    completion = online(store).completion([SIGNATURE])
    answers = await asyncio.gather(*(completion.complete([{"from": "EWR"}], NOW) for _ in range(100)))
    assert {row["wind"] for rows in answers for row in rows} == {12.5}
    assert store.statements <= 10


async def test_a_row_without_its_entity_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match="from") as refused:
        await online(Store()).completion([SIGNATURE]).complete([{"flight": "a"}], NOW)
    assert refused.value.status == 422


async def test_a_store_that_does_not_answer_is_no_missing_value() -> None:
    store = Store(EWR=(1.0, NOW))
    store.broken = True
    completion = online(store).completion([SIGNATURE])
    with pytest.raises(Refusal, match="online store") as refused:
        await completion.complete([{"from": "EWR"}], NOW)
    assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"1"),))
    store.broken = False
    assert (await completion.complete([{"from": "EWR"}], NOW))[0]["wind"] == 1.0


async def test_both_versions_get_the_features_they_need() -> None:
    more = Input(name="gust", kind="numeric", source="weather", nullable=True)
    other = SIGNATURE.model_copy(update={"inputs": (*SIGNATURE.inputs, more)})
    rows = await online(Store(EWR=(12.5, NOW))).completion([SIGNATURE, other]).complete([{"from": "EWR"}], NOW)
    assert set(rows[0]) == {"from", "wind", "temp", "gust"}


async def test_without_a_store_only_what_reads_no_view_is_served() -> None:
    rows, store = [{"flight": "a"}], OnlineStore(None, lambda *_: None)
    plain = SIGNATURE.model_copy(update={"inputs": SIGNATURE.inputs[:1]})
    assert await store.completion([plain]).complete(rows, NOW) is rows
    with pytest.raises(Refusal, match=r"weather.*FEAST_POSTGRES_HOST") as refused:
        store.completion([plain, SIGNATURE])
    assert (refused.value.status, refused.value.code) == (422, "no_online_store")


async def test_how_long_values_hold_is_known_or_nothing_is_served(tmp_path: Path) -> None:
    store = store_for(Settings.from_env({"MODELYARD_ROOT": str(tmp_path)}), {"FEAST_POSTGRES_HOST": "nowhere.invalid"})
    with pytest.raises(NotFound, match="delays"):
        store.completion([SIGNATURE])
    folder = tmp_path / "projects" / "delays"
    folder.mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("delays: {}\n")
    (folder / "model.yaml").write_text(MODEL_YAML.replace("weather", "water"))
    with pytest.raises(ConfigError, match="Did you mean 'water'"):
        store.completion([SIGNATURE])
    (folder / "model.yaml").write_text(MODEL_YAML)
    assert store.completion([SIGNATURE])


class Connection:
    """Of ``asyncpg``, what is used of it."""

    def __init__(self, opened: list[Connection]) -> None:
        self.closed, self.fails, self.refuses, self.under_way = False, False, False, asyncio.Event()
        self.under_way.set()
        opened.append(self)

    async def execute(self, query: str, timeout: float) -> None:  # noqa: ASYNC109
        assert "plan_cache_mode" in query
        assert timeout > 0
        if self.refuses:
            raise TimeoutError

    async def fetch(self, query: str, *args: Any, timeout: float) -> Sequence[Sequence[Any]]:  # noqa: ASYNC109
        await self.under_way.wait()
        if self.fails:
            raise OSError("gone")
        return [(query, *args, timeout)]

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True


async def test_connections_are_few_are_used_again_and_replaced_when_they_break(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Connection] = []

    async def connect(**_: Any) -> Connection:
        return Connection(opened)

    monkeypatch.setattr("asyncpg.connect", connect)
    pool = LazyPool({})
    for n in range(3):
        assert (await pool.fetch("q", n))[0][:2] == ("q", n)
    assert len(opened) == 1
    opened[0].under_way.clear()
    reads = [asyncio.ensure_future(pool.fetch("q", n)) for n in range(50)]
    await asyncio.wait_for(asyncio.gather(*reads[1:]), 60)
    assert len(opened) <= MOST_READS
    opened[0].under_way.set()
    await asyncio.wait_for(reads[0], 60)
    for one in opened:
        one.fails = True
    for _ in opened[:]:
        with pytest.raises(OSError, match="gone"):
            await pool.fetch("q")
    assert all(one.closed for one in opened)
    before = len(opened)
    await pool.fetch("q")
    opened[-1].closed = True  # by the server
    await pool.fetch("q")
    assert len(opened) == before + 2


async def test_connections_that_were_idle_for_long_or_cannot_be_set_up_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Connection] = []
    refuses = [False]

    async def connect(**_: Any) -> Connection:
        made = Connection(opened)
        made.refuses = refuses[0]
        return made

    monkeypatch.setattr("asyncpg.connect", connect)
    pool = LazyPool({})
    await pool.fetch("q")
    monkeypatch.setattr(online_module, "_IDLE_S", 0.0)
    await pool.fetch("q")
    assert [one.closed for one in opened] == [True, False]
    refuses[0] = True
    for _ in range(2 * MOST_READS):  # more often than there are places
        with pytest.raises(TimeoutError):
            await pool.fetch("q")
    assert all(one.closed for one in opened)
    refuses[0] = False
    await asyncio.wait_for(pool.fetch("q"), 60)


async def test_after_a_read_that_hung_nobody_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was given up is not read when the store is back."""
    monkeypatch.setattr(online_module, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(online_module, "_SHUT_S", 60.0)
    asked: list[int] = []
    back = asyncio.Event()

    class Hung(Store):
        async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
            asked.append(1)
            await back.wait()
            return await super().fetch(query, *args)

    completion = online(Hung(EWR=(12.5, NOW))).completion([SIGNATURE])
    for _ in range(5):
        with pytest.raises(Refusal) as refused:
            await completion.features([{"from": "EWR"}], [NOW])
        assert refused.value.status == 503
    assert len(asked) == 1
    back.set()
    monkeypatch.setattr(completion, "_shut_until", 0.0)
    monkeypatch.setattr(online_module, "_PATIENCE_S", 60.0)
    assert (await completion.features([{"from": "EWR"}], [NOW]))[0]["wind"] == 12.5
