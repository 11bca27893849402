"""What a replica counts by the hour is in the files, whichever way a request came and whatever became of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fixtures.bundles import MODEL, ROW, write_bundle_of
from fixtures.keys import TRUST

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.core.errors import IntegrityError
from modelyard.core.window import Window
from modelyard.ports.fleet import Route
from modelyard.ports.predictions import HourUse
from modelyard.serving import usage as usage_module
from modelyard.serving.app import App
from modelyard.serving.control import Control
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import Metrics
from modelyard.serving.online import OnlineStore
from modelyard.serving.usage import HOUR_US, Usage, UsageLog

pytestmark = pytest.mark.anyio
TARGET = f"/v1/models/{MODEL}/predict"
NOON = datetime(2013, 4, 9, 12, tzinfo=UTC)
DAY = Window(start=NOON - timedelta(hours=12), end=NOON + timedelta(hours=12))


class Replica:
    """A gateway without its HTTP server, under the champion alone."""

    def __init__(self, folder: Path, most: int = 1024) -> None:
        self.folder, self.log = folder, PredictionLog(folder / "log", "gateway-1")
        store = OnlineStore(None, lambda *_: None)
        self.control = Control("gateway-1", folder / "state", self.log, store, trust=lambda: TRUST)
        self.app = App(self.control, self.log, Metrics(self.control, self.log), None, most)

    async def quick(self, at: datetime, times: int = 1) -> list[int]:
        """Requests of one turn of the quick way; their statuses."""
        answers = []
        for _ in range(times):
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            body = json.dumps({"rows": [ROW], "event_time": at.isoformat()}).encode()
            assert self.app.take(TARGET.encode(), body, lambda status, _, to=answer: to.set_result(status))
            answers.append(answer)
        return list(await asyncio.wait_for(asyncio.gather(*answers), 60))

    async def careful(self, at: datetime, rows: int) -> int:
        """One request by ASGI; its status."""
        body = json.dumps({"rows": [ROW] * rows, "event_time": at.isoformat()}).encode()
        statuses = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            statuses.append(message.get("status"))

        await self.app({"type": "http", "method": "POST", "path": TARGET, "headers": []}, receive, send)
        return int(statuses[0])

    def breaks(self) -> None:
        """From now on the champion raises."""
        live = self.control.find(MODEL).live
        assert live is not None
        live.champion.scorer.score = broken  # type: ignore[method-assign]

    async def stop(self) -> tuple[HourUse, ...]:
        self.control.close()
        await self.log.close()
        return ParquetPredictions(self.folder / "log").usage(MODEL, DAY)


def broken(*_: object) -> Any:
    raise RuntimeError("the graph is broken")


async def started(folder: Path, most: int = 1024) -> Replica:
    replica = Replica(folder, most)
    _, arm = write_bundle_of(folder / "one")
    await replica.control.apply(Route(model=MODEL, champion=arm, rollout="r"), 1)
    return replica


async def test_answers_and_failures_of_both_ways_are_counted_by_the_hour_of_their_event(tmp_path: Path) -> None:
    replica = await started(tmp_path)
    assert await replica.quick(NOON, 3) == [200] * 3
    assert await replica.careful(NOON + timedelta(hours=1), 5) == 200
    replica.breaks()
    assert await replica.quick(NOON, 2) == [500] * 2
    assert await replica.careful(NOON + timedelta(hours=1), 5) == 500
    first, second = await replica.stop()
    assert (first.hour, first.requests, first.failed, first.rows) == (NOON, 5, 2, 3)
    assert (second.hour, second.requests, second.failed, second.rows) == (NOON + timedelta(hours=1), 2, 1, 5)
    assert (second.memory_mb or 0) > 10


async def test_one_call_in_so_many_is_timed_by_its_size(tmp_path: Path) -> None:
    replica = await started(tmp_path)
    for _ in range(2 * usage_module.SAMPLED):
        await replica.quick(NOON, 5)
    (hour,) = await replica.stop()
    (spent,) = hour.spent
    assert (spent.version, spent.size, spent.calls, spent.rows, hour.rows) == (1, 4, 2, 10, 10 * usage_module.SAMPLED)
    assert spent.cpu_s > 0


async def test_a_request_that_is_shed_has_failed_and_a_wrong_one_has_not(tmp_path: Path) -> None:
    replica = await started(tmp_path, most=0)
    assert await replica.careful(NOON, 1) == 503
    found = await replica.stop()
    assert found == ()  # its moment was not read: it is counted with the hour in which it came
    now = datetime.now(UTC)
    later = Window(start=now - timedelta(hours=2), end=now + timedelta(hours=2))
    (shed,) = ParquetPredictions(tmp_path / "log").usage(MODEL, later)
    assert (shed.requests, shed.failed) == (1, 1)


async def test_what_the_client_got_wrong_is_no_failure(tmp_path: Path) -> None:
    replica = await started(tmp_path)
    assert 400 <= await replica.careful(NOON, 0) < 500
    assert await replica.stop() == ()


async def test_a_file_is_replaced_and_each_process_has_its_own(tmp_path: Path) -> None:
    replica = await started(tmp_path)
    await replica.quick(NOON)
    replica.control._usage.write()
    await replica.quick(NOON)
    (once,) = await replica.stop()
    assert once.requests == 2
    again = await started(tmp_path)
    await again.quick(NOON)
    assert [h.requests for h in await again.stop()] in ([2, 1], [1, 2])


async def test_counts_come_after_a_while_without_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "WRITE_S", 0.01)
    replica = await started(tmp_path)
    await replica.quick(NOON)
    async with asyncio.timeout(60):
        files = tmp_path / "log" / MODEL / "usage" / "date=2013-04-09"
        while not list(files.glob("gateway-1-*.json")):  # noqa: ASYNC110  a file tells no event
            await asyncio.sleep(0.01)
    await replica.stop()


async def test_only_whole_hours_are_read_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    replica = await started(tmp_path)
    await replica.quick(NOON)
    await replica.stop()
    log = ParquetPredictions(tmp_path / "log")
    assert log.usage(MODEL, Window(start=NOON + timedelta(minutes=1), end=DAY.end)) == ()
    assert log.usage(MODEL, Window(start=DAY.start, end=NOON + timedelta(minutes=59))) == ()
    (path,) = (tmp_path / "log" / MODEL / "usage").glob("*/*.json")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="holds no counts"):
        log.usage(MODEL, DAY)


def test_of_many_days_the_first_are_closed_and_written_and_then_begin_another_file() -> None:
    written: dict[Path, bytes] = {}
    log = UsageLog(Path("log"), "r", lambda _, path, data: written.__setitem__(path, data), lambda: 50.0)
    usage = Usage("m", lambda: None, itertools.count(1))
    log._models["m"] = usage
    for day in range(usage_module.MOST_DAYS + 1):
        usage.answered([day * 24 * HOUR_US])
    usage.answered([0])  # closed, and not written yet: it goes on
    assert len(usage._days) == usage_module.MOST_DAYS
    log.write()

    def first() -> list[list[int]]:
        files = [json.loads(data)["hours"] for path, data in written.items() if path.parent.name == "date=1970-01-01"]
        return [[h["requests"] for h in hours] for hours in files]

    assert first() == [[2]]
    for day in range(1, usage_module.MOST_DAYS + 1):
        usage.answered([day * 24 * HOUR_US])
    log.write()
    usage.answered([0])
    log.write()
    assert first() == [[2], [1]]
    written.clear()
    log.write()
    assert not written


def test_days_that_come_in_any_order_make_no_file_for_each_request() -> None:
    usage, order = Usage("m", lambda: None, itertools.count(1)), random.Random(1)  # noqa: S311
    for _ in range(5000):
        usage.answered([order.randrange(3 * usage_module.MOST_DAYS) * 24 * HOUR_US])
    assert len(list(usage.changed(None))) <= 3 * usage_module.MOST_DAYS


def test_memory_is_counted_where_there_were_requests() -> None:
    idle = Usage("m", lambda: None, itertools.count(1))
    idle.answered([0])
    assert len(list(idle.changed(100.0))) == 1
    assert list(idle.changed(900.0)) == []


def test_a_turn_of_several_hours_is_counted_in_each() -> None:
    usage = Usage("m", lambda: None, itertools.count(1))
    usage.answered([0, HOUR_US, HOUR_US + 1])
    ((_, day),) = usage.changed(None)
    assert [(h.requests, h.rows) for h in day.hours.values()] == [(1, 1), (2, 2)]
