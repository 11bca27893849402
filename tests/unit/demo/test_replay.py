"""The order of a step, its pace, and what happens when it is stopped or breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelyard.core.errors import NotFound, Unavailable
from modelyard.core.window import Window
from modelyard.demo.gateway_client import Call, Tally
from modelyard.demo.replay import HOUR, Pace, Replay, Steps
from modelyard.demo.traffic import Record, Traffic

START = datetime(2013, 4, 9, tzinfo=UTC)


class Log:
    """Everything that the replay does, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.tally = Tally()

    def requests(self, hour: Window) -> Iterator[Call]:
        yield "predict", hour.start

    def feedback(self, hour: Window) -> Iterator[Call]:
        yield "feedback", hour.start

    async def post_all(self, kind: str, calls: Iterable[Call], expected: int) -> list[bytes]:
        for _, body in calls:
            self.done.append((kind, body))
            self.tally.sent[kind] += 1
        return []

    def close(self) -> None:
        self.done.append(("close", None))

    def pushes(self) -> Iterator[datetime]:
        moment = START
        while True:
            self.done.append(("push", moment))
            yield moment
            moment += HOUR


def replay(
    log: Log, hours: int, pace: Pace | None = None, too_far: Callable[[datetime], bool] = lambda _: False
) -> Replay:
    steps = Steps(
        too_far=too_far,
        push_features=log.pushes(),
        land=lambda hour: log.done.append(("land", hour.end)),
        tick=lambda _, event: log.done.append(("tick", event)),
    )
    window = Window(start=START, end=START + hours * HOUR)
    return Replay(log, log, steps, pace or Pace(), window)  # type: ignore[arg-type]


def test_a_step_pushes_asks_tells_lands_and_only_then_moves_the_clock() -> None:
    log = Log()
    reached = replay(log, 2).run()
    assert reached == START + 2 * HOUR
    first, second = START, START + HOUR
    one = [("push", first), ("predict", first), ("feedback", first), ("land", second), ("tick", second)]
    assert log.done[:5] == one
    assert log.done[5] == ("push", second)
    assert log.done[-1] == ("close", None)


def test_a_pace_holds_the_replay_back_and_stopping_lets_it_go() -> None:
    began = time.monotonic()
    replay(Log(), 2, Pace(hours_per_second=20.0)).run()
    assert time.monotonic() - began >= 0.1
    pace = Pace(hours_per_second=0.001)
    with Traffic(replay(Log(), 9, pace), pace, Record(Path("/nonexistent"))) as traffic:
        traffic.record.save = lambda: None  # type: ignore[method-assign]
        while traffic.reached == START:
            time.sleep(0.01)
    assert traffic.reached < START + 9 * HOUR


def test_the_replay_waits_for_the_monitor_unless_it_is_stopped() -> None:
    asked: list[datetime] = []
    replay(Log(), 2, too_far=lambda reached: len(asked) < 3 and not asked.append(reached)).run()
    assert asked == [START + HOUR] * 3
    pace = Pace()
    pace.stopped.set()
    assert replay(Log(), 2, pace, too_far=lambda _: True).run() == START


def test_the_end_of_the_past_is_said_to_be_so(tmp_path: Path) -> None:
    pace = Pace()
    with Traffic(replay(Log(), 1, pace), pace, Record(tmp_path / "t.json")) as traffic:
        traffic._thread.join()
        with pytest.raises(NotFound, match="the whole past has been replayed"):
            traffic.check()


def test_what_breaks_in_the_thread_is_raised_where_somebody_looks(tmp_path: Path) -> None:
    def land(_: Window) -> None:
        raise Unavailable("no disk")

    log, pace = Log(), Pace()
    steps = Steps(push_features=log.pushes(), land=land, tick=lambda *_: None)
    broken = Replay(log, log, steps, pace, Window(start=START, end=START + HOUR))  # type: ignore[arg-type]
    with Traffic(broken, pace, Record(tmp_path / "t.json")) as traffic:
        traffic._thread.join()
        with pytest.raises(Unavailable, match="no disk"):
            traffic.check()
    assert ("close", None) in log.done


def test_the_record_is_kept_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "demo" / "traffic.json"
    record = Record(path)
    record.tally.sent["predict"] += 3
    record.tally.failures.append((1.5, "/predict", "503"))
    record.save()
    again = Record(path).tally
    assert (again.sent["predict"], again.failures, again.failed) == (3, [(1.5, "/predict", "503")], 1)


def test_the_record_is_saved_meanwhile_so_that_a_killed_driver_loses_little(tmp_path: Path) -> None:
    path, pace = tmp_path / "demo" / "traffic.json", Pace(hours_per_second=0.001)
    log = Log()
    record = Record(path)
    log.tally = record.tally
    with Traffic(replay(log, 9, pace), pace, record, save_seconds=0.02) as traffic:
        deadline = time.monotonic() + 10
        while Record(path).tally.sent["predict"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        traffic.check()
        assert Record(path).tally.sent["predict"] == record.tally.sent["predict"] > 0


def test_a_record_that_cannot_be_saved_is_raised_where_somebody_looks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pace, record = Pace(hours_per_second=0.001), Record(tmp_path / "file" / "t.json")
    traffic = Traffic(replay(Log(), 9, pace), pace, record, save_seconds=0.01)
    with suppress(OSError), traffic:
        traffic._keeper.join()
    with pytest.raises(OSError, match="file"):
        traffic.check()


def test_a_damaged_record_starts_over_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"sent": {"predict": 3}, "failu')
    said: list[str] = []
    assert Record(path, said.append).tally.sent == {}
    assert "damaged" in said[0]
    assert path.with_name("t.json.damaged").exists()


def test_progress_is_counted_from_where_it_began(tmp_path: Path) -> None:
    record = Record(tmp_path / "t.json")
    record.tally.sent["predict"] = 100
    log, pace = Log(), Pace()
    log.tally = record.tally
    with Traffic(replay(log, 3, pace), pace, record) as traffic:
        traffic._thread.join()
    assert traffic.sent == 3
    assert traffic.per_second > 0
    assert timedelta(hours=3) == traffic.reached - START
