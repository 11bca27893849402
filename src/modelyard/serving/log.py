"""The prediction log's writing end: answered rows and feedback, in batches, off the request path.

Layout under ``<root>/<model>/``:

* ``predictions/date=<event date>/<replica>-<start>-<number>~<rollout>.parquet``
* ``feedback/date=<date known>/<replica>-<start>-<number>.parquet``: labels
* ``numbers/date=<date known>/<replica>-<start>-<number>.parquet``: named numbers, one a row
* ``events/<replica>-<start>-<number>~<rollout>.json``: trips of guardrails (``ports.fleet.Trip``)

* ``../.journal/<replica>/<start>-<number>.wal``: what was answered, where nothing may be lost (``journal``)

The bound on what a kill -9 can lose: what was answered in the last ``seconds`` or the last ``rows`` rows, whichever is
less, and what the writer has been handed and has not written yet: one such batch, and where the disk does not keep up
at most ``MOST_BUFFERED`` rows (``prediction_log_unwritten_rows`` says how many). With ``seconds`` 0 it is nothing:
every row is in the journal on the disk before it is answered. A file is whole or absent. An orderly stop loses nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.ports.fleet import Trip
from modelyard.serving.errors import Refusal
from modelyard.serving.files import write_atomically
from modelyard.serving.journal import Journal, Segment, left_behind
from modelyard.serving.log_rows import (
    DAY_US,
    Answered,
    Label,
    Number,
    answered_columns,
    label_columns,
    number_columns,
)
from modelyard.serving.records import answered_record, outcomes_record, read_record

_log = logging.getLogger(__name__)
__all__ = ["Answered", "Label", "Number", "PredictionLog"]
Table = dict[str, Any]
"""Columns by name."""
Work = tuple[int, Callable[[], None]]
"""So many rows, and what writes them."""
MOST_BUFFERED = 200_000
MOST_AT_ONCE = 4096
"""Rows of which the event loop makes columns, at a microsecond each; of more, the writing thread does."""
_SOUGHT = ("request_id", "key", "event_time", "known_at")
"""Columns by which readers choose files and rows."""
FILES_S = 2.0
"""Most seconds between two files where rows are in the journal first."""


@dataclass(slots=True)
class _Buffer:
    answered: list[Answered] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    rows: int = 0
    ahead: list[tuple[Segment, int]] = field(default_factory=list)
    """Segments of the journal that hold rows of this buffer, and how many."""


class PredictionLog:
    """Collects on the event loop, writes in a thread of its own.

    ``seconds`` 0: nothing is answered that is not on the disk (``write_ahead``); the files follow every two seconds.

    When the disk does not keep up, at most ``MOST_BUFFERED`` rows are held; what comes on top is dropped and counted.
    """

    def __init__(self, root: Path, replica: str, *, rows: int = 2000, seconds: float = 2.0) -> None:
        self._root, self._replica, self._most, self._seconds = root, replica, rows, seconds or FILES_S
        self._buffer = _Buffer()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prediction-log")
        self._urgent = ThreadPoolExecutor(1, thread_name_prefix="urgent")
        self._start = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._journals = root / ".journal" / replica
        self._journal = None if seconds else Journal(self._journals, self._start)
        self.unwritten = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Future[list[int]]] = set()
        self.written = self.dropped = self.failed_writes = 0
        self.on_flush: Callable[[], None] = lambda: None

    @property
    def durable(self) -> bool:
        """Whether rows have to be written ahead of their answer."""
        return self._journal is not None

    async def recover(self) -> int:
        """Write down what one of this name had answered and not written when it was killed; how many rows that was.

        Its journals are removed when all of it is written. Call it before anything is served.
        """
        return await asyncio.to_thread(self._recover)

    def write_ahead(self, answered: Answered) -> None:
        """Where nothing may be lost: on the disk when this returns. Blocks for as long as the disk takes.

        Raises:
            Refusal: it cannot be written, so it must not be answered.
        """
        if self._journal is not None:
            answered.segment = self._ahead(answered_record(answered), len(answered.keys))

    def add(self, answered: Answered) -> None:
        """Keep answered rows."""
        if self._admit(len(answered.keys)):
            self._buffer.answered.append(answered)
            if answered.segment is not None:
                self._buffer.ahead.append((answered.segment, len(answered.keys)))
            self._due()

    def feedback(self, labels: Sequence[Label], numbers: Sequence[Number] = ()) -> None:
        """Keep outcomes. Raises ``Refusal`` where nothing may be lost and they cannot be written."""
        rows = len(labels) + len(numbers)
        segment = self._ahead(outcomes_record(labels, numbers), rows) if self.durable else None
        if self._admit(rows):
            if segment is not None:
                self._buffer.ahead.append((segment, rows))
            self._buffer.labels.extend(labels)
            self._buffer.numbers.extend(numbers)
            self._due()

    @property
    def root(self) -> Path:
        """The folder that all replicas write to."""
        return self._root

    def trip(self, trip: Trip) -> None:
        """Record a trip in a file of its own, at once: it waits for no rows that are being written."""
        path = self._path(trip.model, "events", "", f"~{trip.rollout}.json")
        self.submit(write_atomically, path, trip.to_json().encode())

    def submit(self, work: Callable[..., None], *args: object) -> None:
        """Have something small written off the event loop, in the order given, and before rows that wait."""
        self._submit(self._urgent, partial(_nothing_lost, work, *args), 0)

    def later(self, work: Callable[..., None], *args: object) -> None:
        """The same in its turn among the rows."""
        self._submit(self._pool, partial(_nothing_lost, work, *args), 0)

    def flush(self) -> None:
        """Hand what is buffered to the writer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        buffer, self._buffer = self._buffer, _Buffer()
        if self._journal is not None:
            self._journal.rotate()
        if buffer.rows:
            # Columns are made here where there are not too many: the writing thread would make them while the event
            # loop waits for the GIL again and again, which costs more than it spares. Files are written without it.
            works = self._works(buffer, now=buffer.rows <= MOST_AT_ONCE)
            self._submit(self._pool, lambda: _write_all(works), buffer.rows, buffer.ahead)
        self.on_flush()

    async def close(self) -> None:
        """Write everything and stop."""
        self.flush()
        while self._writing:
            await asyncio.wait(self._writing)
        self._pool.shutdown()
        self._urgent.shutdown()

    def _ahead(self, record: bytes, rows: int) -> Segment:
        assert self._journal is not None  # noqa: S101  only called where there is one
        try:
            return self._journal.append(record, rows)
        except OSError as error:
            _log.exception("prediction log: %d rows could not be written ahead", rows)
            message = f"the prediction log cannot be written ({error}), and nothing may be answered unlogged here"
            raise Refusal(503, "log_unavailable", message, headers=((b"retry-after", b"1"),)) from error

    def _recover(self) -> int:
        rows = 0
        for path, records in left_behind(self._journals):
            buffer = _Buffer()
            try:
                for record in records:
                    answered, labels, numbers = read_record(record)
                    buffer.answered += answered
                    buffer.labels += labels
                    buffer.numbers += numbers
            except ValueError:
                _log.exception("%s is left as it is", path)
                continue
            if not _write_all(self._works(buffer, now=False)):
                path.unlink()
                rows += sum(len(a.keys) for a in buffer.answered) + len(buffer.labels) + len(buffer.numbers)
        if rows:
            _log.warning("prediction log: %d rows were recovered from the journal", rows)
        return rows

    def _admit(self, rows: int) -> bool:
        if self.unwritten + self._buffer.rows + rows > MOST_BUFFERED:
            self.dropped += rows
            return False
        self._buffer.rows += rows
        return True

    def _due(self) -> None:
        if self._buffer.rows >= self._most:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.flush)

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[], list[int]],
        rows: int,
        ahead: Sequence[tuple[Segment, int]] = (),
    ) -> None:
        """Run ``work`` in a thread; it returns the number of rows of each file that it could not write."""
        self.unwritten += rows
        future = asyncio.get_running_loop().run_in_executor(pool, work)
        self._writing.add(future)
        future.add_done_callback(lambda done: self._written(done, rows, ahead))

    def _written(self, done: asyncio.Future[list[int]], rows: int, ahead: Sequence[tuple[Segment, int]]) -> None:
        self._writing.discard(done)
        self.unwritten -= rows
        error = done.exception()
        lost = done.result() if error is None else [rows]
        self.written += rows - sum(lost)
        self.dropped += sum(lost)
        self.failed_writes += len(lost)
        for segment, kept in () if lost else ahead:  # what could not be written is recovered at the next start
            segment.done(kept)
        if error is not None:
            _log.error("prediction log: %d rows could not be written: %s", rows, error)

    def _works(self, buffer: _Buffer, *, now: bool) -> list[Work]:
        """A file for each group, with its number of rows; its columns are made ``now`` or when it is written."""
        groups: dict[tuple[Any, ...], list[Answered]] = defaultdict(list)
        for answered in buffer.answered:
            for day, rows in answered.by_day():
                groups[rows.model, rows.rollout, day, rows.names].append(rows)
        tables: list[tuple[int, Callable[[], Table], tuple[str, str, int, str]]] = [
            (
                sum(len(a.keys) for a in batch),
                partial(answered_columns, batch, names),
                (model, "predictions", day, f"~{rollout}.parquet"),
            )
            for (model, rollout, day, names), batch in groups.items()
        ]
        for kind, reported, made in (
            ("feedback", buffer.labels, label_columns),
            ("numbers", buffer.numbers, number_columns),
        ):
            by_day: dict[tuple[str, int], list[Any]] = defaultdict(list)
            for one in reported:
                by_day[one.model, one.known_us // DAY_US].append(one)
            tables += [
                (len(some), partial(made, some), (model, kind, day, ".parquet"))
                for (model, day), some in by_day.items()
            ]
        made_how = _made if now else lambda table: table
        return [(rows, partial(self._write_table, made_how(table), *place)) for rows, table, place in tables]

    def _write_table(self, table: Callable[[], Table], model: str, kind: str, day: int, suffix: str) -> None:
        _write_table(self._path(model, kind, f"date={_date(day)}", suffix), table())

    def _path(self, model: str, kind: str, folder: str, suffix: str) -> Path:
        name = f"{self._replica}-{self._start}-{next(self._numbers):08d}{suffix}"
        return self._root / model / kind / folder / name


def _nothing_lost(work: Callable[..., None], *args: object) -> list[int]:
    """Work that has no rows to lose."""
    work(*args)
    return []


def _write_all(works: Sequence[Work]) -> list[int]:
    """Write each file; one that fails costs nobody else's rows. Returns the rows of those that failed."""
    return [rows for rows, work in works if not _done(work, rows)]


def _made(table: Callable[[], Table]) -> Callable[[], Table]:
    """The same, made already; one that cannot be made fails where it is written."""
    try:
        made = table()
    except Exception:  # noqa: BLE001  one bad row must neither stop the gateway nor take other rows with it
        return table
    return lambda: made


def _done(work: Callable[[], None], rows: int) -> bool:
    try:
        work()
    except Exception:  # noqa: BLE001  one bad row must not take other models' rows with it, whatever is wrong
        _log.exception("prediction log: %d rows could not be written", rows)
        return False
    return True


def _write_table(path: Path, table: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    # A dictionary pays where values repeat and are counted already: elsewhere looking for repeats costs more than it
    # saves. The same holds for statistics of columns by which no reader chooses.
    repeat = [name for name, column in table.items() if pa.types.is_dictionary(column.type)]
    sought = [name for name in _SOUGHT if name in table]
    made = pa.Table.from_arrays(list(table.values()), names=list(table))
    pq.write_table(made, sink, compression="lz4", use_dictionary=repeat, write_statistics=sought, store_schema=False)
    write_atomically(path, sink.getvalue().to_pybytes())


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_US / 1e6, tz=UTC).date().isoformat()
