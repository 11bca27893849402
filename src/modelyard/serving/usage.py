"""What answering a model's requests takes, by the hour of their event time: how many failed, processor time, memory.

A failed answer is in no prediction log, and a count that only a scrape sees is gone when the replica is. So each
replica keeps its counts beside the log, ``<root>/<model>/usage/date=<event date>/<replica>-<start>-<number>.json``
(``ports.predictions.HourUse``): one file for each day of a process's life, with all that it has counted of the day,
replaced every ``WRITE_S`` seconds in which something came. A kill -9 loses at most those seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING

import msgspec

from modelyard.serving.encoding import Encoded
from modelyard.serving.files import write_atomically
from modelyard.serving.resources import resident_mb

if TYPE_CHECKING:
    from modelyard.serving.batcher import Scores
    from modelyard.serving.scorer import Scorer

HOUR_US = 3_600_000_000
WRITE_S = 5.0
SAMPLED = 32
"""One call in so many is timed: asking for a thread's processor time is a system call."""
MOST_DAYS = 400
"""Days of one model that are kept in memory; of more, the one that began first is closed."""
MOST_SIZE = 16
"""Calls of at least so many rows are counted together."""
Submit = Callable[..., None]


class Spent(msgspec.Struct):
    """Processor time of timed calls of one version, of ``size`` to ``2 * size - 1`` rows each."""

    version: int
    size: int
    calls: int = 0
    rows: int = 0
    cpu_s: float = 0.0


class Hour(msgspec.Struct):
    """The counts of one hour."""

    hour: datetime
    requests: int = 0
    failed: int = 0
    rows: int = 0
    memory_mb: float | None = None
    spent: list[Spent] = []

    def of(self, version: int, rows: int) -> Spent:
        """Where a call of this version with so many rows is counted."""
        size = min(1 << (rows.bit_length() - 1), MOST_SIZE)
        for one in self.spent:
            if (one.version, one.size) == (version, size):
                return one
        self.spent.append(Spent(version, size))
        return self.spent[-1]


class Day:
    """One file: the hours of a day, by their number since 1970."""

    def __init__(self, number: int) -> None:
        self.number, self.hours, self.changed = number, dict[int, Hour](), True


class Usage:
    """The counts of one model; used on the event loop alone."""

    def __init__(self, model: str, touched: Callable[[], None], numbers: Iterator[int]) -> None:
        self.model, self._touched, self._numbers = model, touched, numbers
        self._days: dict[int, Day] = {}
        self._closed: dict[int, Day] = {}
        self._newest: int | None = None
        self._last: tuple[Day, Hour] | None = None

    def seen(self, event_us: int) -> None:
        """A request of this moment was read: what fails without a known moment is counted with it."""
        self._newest, self._last = event_us // HOUR_US, None

    def answered(self, event_us: Sequence[int], rows: int = 0) -> None:
        """Requests of these moments were answered, of one row each, or one request of so many rows."""
        number, first = len(event_us), event_us[0] // HOUR_US
        if number > 1 and not min(event_us) // HOUR_US == first == max(event_us) // HOUR_US:
            for each in event_us:
                self._count(each // HOUR_US, 1, 1)
            return
        self._count(first, number, rows or number)

    def failed(self, event_us: Sequence[int] = ()) -> None:
        """Requests of these moments, or one of an unknown one, were answered with an error that is not the client's."""
        for each in event_us or (self._now(),):
            hour = self._hour(each // HOUR_US)
            hour.requests += 1
            hour.failed += 1

    def spent(self, version: int, spending: Spending, event_us: int) -> None:
        """Take over what the version's timed calls have spent, for rows of about this moment."""
        while spending.taken:
            rows, seconds = spending.taken.popleft()
            counted = self._hour(event_us // HOUR_US).of(version, rows)
            counted.calls += 1
            counted.rows += rows
            counted.cpu_s += seconds

    def changed(self, memory_mb: float | None) -> Iterator[tuple[int, Day]]:
        """The days (by their number since 1970) that have changed since the last time; the memory that the process
        holds now is counted with the newest hour."""
        used = any(day.changed for day in self._days.values())
        if used and self._newest is not None and memory_mb is not None:
            hour = self._hour(self._newest)
            hour.memory_mb = max(memory_mb, hour.memory_mb or 0.0)
        closed, self._closed = self._closed, {}
        for number, day in [*closed.items(), *self._days.items()]:
            if day.changed:
                day.changed = False
                yield number, day

    def _count(self, hour: int, requests: int, rows: int) -> None:
        # Nearly always the hour of the last request, and what it is in will be written already.
        if hour != self._newest or self._last is None or not self._last[0].changed:
            counted = self._hour(hour)
            self._last = self._days[hour // 24], counted
        counted = self._last[1]
        counted.requests += requests
        counted.rows += rows
        self._newest = hour

    def _now(self) -> int:
        return time.time_ns() // 1000 if self._newest is None else self._newest * HOUR_US

    def _hour(self, hour: int) -> Hour:
        day = self._days.get(hour // 24)
        if day is None:
            if len(self._days) >= MOST_DAYS:
                oldest = next(iter(self._days))
                self._closed[oldest] = self._days.pop(oldest)
            known = self._closed.pop(hour // 24, None)
            day = self._days[hour // 24] = known or Day(next(self._numbers))
        counted = day.hours.get(hour)
        if counted is None:
            counted = day.hours[hour] = Hour(datetime.fromtimestamp(hour * 3600, tz=UTC))
        if not day.changed:
            day.changed = True
        self._touched()
        return counted


class UsageLog:
    """All models' counts on one replica, and when they are written."""

    def __init__(
        self, root: Path, replica: str, submit: Submit, memory_mb: Callable[[], float | None] = resident_mb
    ) -> None:
        self._root, self._replica, self._submit, self._memory = root, replica, submit, memory_mb
        self._start, self._numbers = secrets.token_hex(4), itertools.count(1)
        self._models: dict[str, Usage] = {}
        self._timer: asyncio.TimerHandle | None = None

    def of(self, model: str) -> Usage:
        """The model's counts."""
        if model not in self._models:
            self._models[model] = Usage(model, self._touched, self._numbers)
        return self._models[model]

    def write(self) -> None:
        """Have what has changed written, whole days at a time and off the event loop."""
        memory = self._memory() if self._timer is not None else None
        for model, usage in self._models.items():
            for number, day in usage.changed(memory):
                self._submit(write_atomically, self._path(model, number, day), self._encoded(model, day))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _touched(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_S, self.write)

    def _path(self, model: str, number: int, day: Day) -> Path:
        date = datetime.fromtimestamp(number * 86_400, tz=UTC).date().isoformat()
        name = f"{self._replica}-{self._start}-{day.number:08d}.json"
        return self._root / model / "usage" / f"date={date}" / name

    def _encoded(self, model: str, day: Day) -> bytes:
        hours = [day.hours[hour] for hour in sorted(day.hours)]
        return msgspec.json.encode({"replica": self._replica, "model": model, "hours": hours})


class Spending:
    """A version's way to score that times one call in ``SAMPLED`` by the processor time of the thread."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._calls = scorer, 0
        self.taken: deque[tuple[int, float]] = deque(maxlen=1000)
        """Rows and seconds of the calls that were timed and not taken over yet."""

    def score(self, rows: Encoded) -> Scores:
        """``Scorer.score``."""
        self._calls += 1
        if self._calls % SAMPLED:
            return self._scorer.score(rows)
        start = thread_time()
        scores = self._scorer.score(rows)
        self.taken.append((len(rows), thread_time() - start))
        return scores
