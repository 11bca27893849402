"""The prediction log's writing end: answered rows and feedback, in batches, off the request path.

Layout under ``<root>/<model>/``:

* ``predictions/date=<event date>/<replica>-<start>-<number>~<rollout>.parquet``
* ``feedback/date=<date known>/<replica>-<start>-<number>.parquet``: labels
* ``numbers/date=<date known>/<replica>-<start>-<number>.parquet``: named numbers, one a row
* ``events/<replica>-<start>-<number>~<rollout>.json``: trips of guardrails (``ports.fleet.Trip``)

The bound on what a kill -9 can lose: what was answered in the last ``seconds`` or the last ``rows`` rows, whichever is
less, and the batch being written. A file is whole or absent. An orderly stop loses nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from modelyard.ports.fleet import Trip
from modelyard.serving import columns
from modelyard.serving.encoding import Encoded
from modelyard.serving.files import write_atomically

_log = logging.getLogger(__name__)
_DAY = 86_400_000_000
Names = tuple[str, ...]
MOST_BUFFERED = 200_000
T = TypeVar("T", int, float)


@dataclass(slots=True, eq=False)
class Answered:
    """Rows that one version answered together. ``other`` is filled in when the other version has scored them."""

    model: str
    rollout: str
    release: str
    version: int
    variant: str
    generation: int
    request_ids: Sequence[str]
    keys: Sequence[str]
    event_us: int | list[int]  # one for all rows, or one for each; as the next two
    served_us: int | list[int]
    latency_ms: float | list[float]
    scores: NDArray[np.float64]
    encoded: Encoded
    names: tuple[Names, Names]
    error: str = ""
    other: NDArray[np.float64] | None = None

    def by_day(self) -> Iterator[tuple[int, Answered]]:
        """The rows of each day of event time, as days since 1970."""
        moments = self.event_us if isinstance(self.event_us, list) else [self.event_us]
        if (day := min(moments) // _DAY) == max(moments) // _DAY:
            yield day, self
            return
        days = np.array(moments) // _DAY
        for day in np.unique(days).tolist():
            yield day, self._take(np.flatnonzero(days == day).tolist())

    def _take(self, places: list[int]) -> Answered:
        n = len(self.keys)
        return replace(
            self,
            request_ids=[self.request_ids[i] for i in places],
            keys=[self.keys[i] for i in places],
            event_us=np.broadcast_to(self.event_us, n)[places].tolist(),
            served_us=np.broadcast_to(self.served_us, n)[places].tolist(),
            latency_ms=np.broadcast_to(self.latency_ms, n)[places].tolist(),
            scores=self.scores[places],
            encoded=self.encoded.take(places),
            other=None if self.other is None else self.other[places],
        )


@dataclass(slots=True, frozen=True)
class Label:
    """One outcome, by key or by request id."""

    model: str
    key: str | None
    request_id: str | None
    label: float
    known_us: int
    received_us: int


@dataclass(slots=True, frozen=True)
class Number:
    """One named number that was reported, by key or by request id."""

    model: str
    key: str | None
    request_id: str | None
    name: str
    value: float
    known_us: int
    received_us: int


@dataclass(slots=True)
class _Buffer:
    answered: list[Answered] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    rows: int = 0


class PredictionLog:
    """Collects on the event loop, writes in a thread of its own.

    When the disk does not keep up, at most ``MOST_BUFFERED`` rows are held; what comes on top is dropped and counted.
    """

    def __init__(self, root: Path, replica: str, *, rows: int = 2000, seconds: float = 2.0) -> None:
        self._root, self._replica, self._most, self._seconds = root, replica, rows, seconds
        self._buffer = _Buffer()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prediction-log")
        self._start = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._unwritten = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Future[list[int]]] = set()
        self.written = self.dropped = self.failed_writes = 0
        self.on_flush: Callable[[], None] = lambda: None

    def add(self, answered: Answered) -> None:
        """Keep answered rows."""
        if self._admit(len(answered.keys)):
            self._buffer.answered.append(answered)
            self._due()

    def feedback(self, labels: Sequence[Label], numbers: Sequence[Number] = ()) -> None:
        """Keep outcomes."""
        if self._admit(len(labels) + len(numbers)):
            self._buffer.labels.extend(labels)
            self._buffer.numbers.extend(numbers)
            self._due()

    @property
    def root(self) -> Path:
        """The folder that all replicas write to."""
        return self._root

    def trip(self, trip: Trip) -> None:
        """Record a trip in a file of its own, at once."""
        path = self._path(trip.model, "events", "", f"~{trip.rollout}.json")
        self.submit(write_atomically, path, trip.to_json().encode())

    def submit(self, work: Callable[..., None], *args: object) -> None:
        """Have the writing thread do something else that must not hold up the event loop."""

        def run() -> list[int]:
            work(*args)
            return []

        self._submit(run, 0)

    def flush(self) -> None:
        """Hand what is buffered to the writer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        buffer, self._buffer = self._buffer, _Buffer()
        if buffer.rows:
            self._submit(lambda: self._write(buffer), buffer.rows)
        self.on_flush()

    async def close(self) -> None:
        """Write everything and stop."""
        self.flush()
        while self._writing:
            await asyncio.wait(self._writing)
        self._pool.shutdown()

    def _admit(self, rows: int) -> bool:
        if self._unwritten + self._buffer.rows + rows > MOST_BUFFERED:
            self.dropped += rows
            return False
        self._buffer.rows += rows
        return True

    def _due(self) -> None:
        if self._buffer.rows >= self._most:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.flush)

    def _submit(self, work: Callable[[], list[int]], rows: int) -> None:
        """Run ``work`` in the writing thread; it returns the number of rows of each file that it could not write."""
        self._unwritten += rows
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._writing.add(future)
        future.add_done_callback(lambda done: self._written(done, rows))

    def _written(self, done: asyncio.Future[list[int]], rows: int) -> None:
        self._writing.discard(done)
        self._unwritten -= rows
        error = done.exception()
        lost = done.result() if error is None else [rows]
        self.written += rows - sum(lost)
        self.dropped += sum(lost)
        self.failed_writes += len(lost)
        if error is not None:
            _log.error("prediction log: %d rows could not be written: %s", rows, error)

    def _write(self, buffer: _Buffer) -> list[int]:
        """Write each group to a file of its own; one that fails costs nobody else's rows."""
        groups: dict[tuple[Any, ...], list[Answered]] = defaultdict(list)
        for answered in buffer.answered:
            for day, rows in answered.by_day():
                groups[rows.model, rows.rollout, day, rows.version, rows.names].append(rows)
        works: list[tuple[int, Callable[[], None]]] = [
            (sum(len(a.keys) for a in batch), partial(self._write_answered, model, rollout, day, names, batch))
            for (model, rollout, day, _, names), batch in groups.items()
        ]
        for kind, reported, made in (
            ("feedback", buffer.labels, label_columns),
            ("numbers", buffer.numbers, number_columns),
        ):
            by_day: dict[tuple[str, int], list[Any]] = defaultdict(list)
            for one in reported:
                by_day[one.model, one.known_us // _DAY].append(one)
            works += [
                (len(some), partial(self._write_reported, kind, made, *group, some)) for group, some in by_day.items()
            ]
        return [rows for rows, work in works if not _done(work, rows)]

    def _write_answered(
        self, model: str, rollout: str, day: int, names: tuple[Names, Names], batch: Sequence[Answered]
    ) -> None:
        path = self._path(model, "predictions", f"date={_date(day)}", f"~{rollout}.parquet")
        _write_table(path, answered_columns(batch, names))

    def _write_reported(
        self, kind: str, made: Callable[[Any], dict[str, Any]], model: str, day: int, reported: Sequence[Any]
    ) -> None:
        _write_table(self._path(model, kind, f"date={_date(day)}", ".parquet"), made(reported))

    def _path(self, model: str, kind: str, folder: str, suffix: str) -> Path:
        name = f"{self._replica}-{self._start}-{next(self._numbers):08d}{suffix}"
        return self._root / model / kind / folder / name


def _done(work: Callable[[], None], rows: int) -> bool:
    try:
        work()
    except Exception:  # noqa: BLE001  one bad row must not take other models' rows with it, whatever is wrong
        _log.exception("prediction log: %d rows could not be written", rows)
        return False
    return True


def answered_columns(batch: Sequence[Answered], names: tuple[Names, Names]) -> dict[str, Any]:
    """The columns of ``ports.predictions``, with one column per feature, as the answering version saw it."""
    sizes = [len(a.keys) for a in batch]
    spread: Callable[[Callable[[Answered], str]], Any] = lambda get: columns.repeated([get(a) for a in batch], sizes)  # noqa: E731
    table = {
        "request_id": columns.texts([i for a in batch for i in a.request_ids]),
        "key": columns.texts([k for a in batch for k in a.keys]),
        "event_time": columns.moments(_each([a.event_us for a in batch], sizes)),
        "served_at": columns.moments(_each([a.served_us for a in batch], sizes)),
        "variant": spread(lambda a: a.variant),
        "version": columns.integers(_each([a.version for a in batch], sizes)),
        "release": spread(lambda a: a.release),
        "rollout": spread(lambda a: a.rollout),
        "generation": columns.integers(_each([a.generation for a in batch], sizes)),
        "score": columns.floats(np.concatenate([a.scores for a in batch])),
        "other_score": columns.floats(_others(batch, sizes)),
        "latency_ms": columns.floats(np.array(_each([a.latency_ms for a in batch], sizes))),
        "error": spread(lambda a: a.error),
    }
    numeric_names, categorical_names = names
    numeric = np.ascontiguousarray(np.concatenate([a.encoded.numeric for a in batch]).T, dtype=np.float64)
    table.update({name: columns.floats(line) for name, line in zip(numeric_names, numeric, strict=True)})
    by_name = zip(*(line for a in batch for line in a.encoded.texts), strict=True)
    table.update({name: columns.texts(words) for name, words in zip(categorical_names, by_name, strict=True)})
    return table


def _each(values: Sequence[T | Sequence[T]], sizes: Sequence[int]) -> list[T]:
    """One value a row. (A list at the end costs less than an array for each part.)"""
    rows: list[T] = []
    for value, size in zip(values, sizes, strict=True):
        rows.extend(value if isinstance(value, list) else [cast(T, value)] * size)
    return rows


def _others(batch: Sequence[Answered], sizes: Sequence[int]) -> NDArray[np.float64]:
    others, start = np.full(sum(sizes), np.nan), 0
    for answered, size in zip(batch, sizes, strict=True):
        if answered.other is not None:
            others[start : start + size] = answered.other
        start += size
    return others


def label_columns(labels: Sequence[Label]) -> dict[str, Any]:
    """The columns of a feedback file."""
    return {
        "key": columns.texts([x.key for x in labels]),
        "request_id": columns.texts([x.request_id for x in labels]),
        "label": columns.floats(np.array([x.label for x in labels])),
        "known_at": columns.moments([x.known_us for x in labels]),
        "received_at": columns.moments([x.received_us for x in labels]),
    }


def number_columns(numbers: Sequence[Number]) -> dict[str, Any]:
    """The columns of a file of numbers."""
    return {
        "key": columns.texts([x.key for x in numbers]),
        "request_id": columns.texts([x.request_id for x in numbers]),
        "name": columns.texts([x.name for x in numbers]),
        "value": columns.floats(np.array([x.value for x in numbers])),
        "known_at": columns.moments([x.known_us for x in numbers]),
        "received_at": columns.moments([x.received_us for x in numbers]),
    }


def _write_table(path: Path, table: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    # A dictionary pays for texts, which repeat, and costs more than it saves for numbers, which do not.
    texts = [name for name, column in table.items() if column.type == pa.string()]
    made = pa.Table.from_arrays(list(table.values()), names=list(table))
    pq.write_table(made, sink, compression="lz4", use_dictionary=texts)
    write_atomically(path, sink.getvalue().to_pybytes())


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY / 1e6, tz=UTC).date().isoformat()
