"""Micro-batching: requests that arrive in one turn of the event loop are scored in one call.

There is no waiting time: a lone request is scored in the very next turn, and under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelyard.serving.encoding import Encoded, concatenate

Scores = NDArray[np.float64]
Timed = tuple[Scores, float]
Score = Callable[[Encoded], Scores]
OnCall = Callable[[bool, float], object]
"""Is told of each call of the version: whether it failed, and the seconds it took."""
T = TypeVar("T")
_NONE: Scores = np.empty(0)


class Overdue(Exception):
    """The version did not answer in its time."""


class Dropped(Exception):
    """The queue of rows to be compared was full; a comparison is dropped rather than anyone kept waiting."""


class _Waiting(Generic[T]):
    __slots__ = ("future", "rows")

    def __init__(self, rows: Encoded, future: asyncio.Future[T]) -> None:
        self.rows, self.future = rows, future


Batch = list[_Waiting[Timed]]
_Call = tuple[Batch, Scores, float, BaseException | None]
"""What was asked together, the scores, the seconds, and what went wrong."""


class LoopBatcher:
    """Scores on the event loop itself: the quickest way for a version that is trusted (30 microseconds a row)."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting[Scores]] = []

    def submit(self, rows: Encoded) -> asyncio.Future[Scores]:
        """The rows' scores, in the next turn of the loop; fails with whatever the version raises."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        future: asyncio.Future[Scores] = self._loop.create_future()
        self._waiting.append(_Waiting(rows, future))
        return future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            scores = self._score(concatenate([w.rows for w in batch]))
        except Exception as error:  # noqa: BLE001  whatever the graph raises belongs to the requests of this batch
            _fail(batch, error)
            return
        start = 0
        for waiting in batch:
            end = start + len(waiting.rows)
            if not waiting.future.done():
                waiting.future.set_result(scores[start:end])
            start = end


class ThreadBatcher:
    """Scores in a thread of its own, with a time limit: the way for a version that is not trusted yet.

    What waits is handed over together, and asked of the version in calls of at most ``call_rows`` rows (or of one
    submission that has more). A version that hangs keeps its thread and nothing else: what waits for it is overdue
    once a call has taken ``limit_s``, ``interrupt`` is asked to end that call, and until the thread comes back new
    rows are refused at once.
    """

    def __init__(
        self,
        score: Score,
        *,
        limit_s: float,
        on_call: OnCall,
        queue_rows: int = 4096,
        call_rows: int | None = None,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self._score, self._limit, self._on_call, self._queue_rows = score, limit_s, on_call, queue_rows
        self._call_rows, self._interrupt = call_rows or queue_rows, interrupt
        self.after: Callable[[Encoded, float], None] | None = None
        """Called in the thread with the rows and the seconds of each call that came back, before the next one."""
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: Batch = []
        self._under_way: Batch = []
        self._since = 0.0  # when the call under way began; the thread sets it
        self._rows = 0
        self._busy = self._stuck = self._closed = False

    def submit(self, rows: Encoded) -> asyncio.Future[Timed]:
        """The rows' scores and the seconds that the call which scored them took.

        The future fails with ``Overdue`` past the limit, ``Dropped`` when the queue is full, or the version's error.
        """
        future: asyncio.Future[Timed] = self._loop.create_future()
        if self._closed:
            future.set_exception(Dropped("the version has been taken off"))
        elif self._stuck:
            future.set_exception(Overdue(f"the version has not come back for more than {self._limit:g} s"))
        elif self._rows + len(rows) > self._queue_rows:
            future.set_exception(Dropped(f"{self._rows} rows are waiting already"))
        else:
            self._rows += len(rows)
            self._waiting.append(_Waiting(rows, future))
            if not self._busy:
                self._busy = True
                self._loop.call_soon(self._start)
        return future

    def close(self) -> None:
        """Take no more work; a thread that hangs is left behind."""
        self._closed = True
        self._work.put(None)

    def _start(self) -> None:
        batch, self._waiting, self._rows = self._waiting, [], 0
        if self._closed:
            _fail(batch, Dropped("the version has been taken off"))
        if not batch or self._closed:
            self._busy = False
            return
        self._under_way, self._since = batch, time.perf_counter()
        if self._timer is None:  # one timer that looks how old the call is: one for each batch would cost each batch
            self._timer = self._loop.call_later(self._limit, self._look)
        if self._thread is None:
            # No executor: its futures and locks cost more than the score, and it would wait at exit for a version
            # that hangs.
            self._thread = Thread(target=self._run, name="challenger", daemon=True)
            self._thread.start()
        self._work.put(batch)

    def _run(self) -> None:
        while (batch := self._work.get()) is not None:
            calls = []
            for group in _groups(batch, self._call_rows):
                calls.append(self._call(group))
                if self._stuck:  # nobody waits for the rest any more
                    break
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish, calls)

    def _call(self, group: Batch) -> _Call:
        self._since = start = time.perf_counter()
        scores, error = _NONE, None
        try:
            rows = concatenate([w.rows for w in group])
            scores = self._score(rows)
        except BaseException as raised:  # noqa: BLE001  whatever it raises is the version's failure
            error = raised
        seconds = time.perf_counter() - start
        if self.after is not None and error is None and not self._stuck:
            self._since = time.perf_counter()
            self.after(rows, seconds)
        return group, scores, seconds, error

    def _finish(self, calls: list[_Call]) -> None:
        was_stuck, self._stuck, self._under_way = self._stuck, False, []
        for group, scores, seconds, error in calls:
            if not was_stuck:
                self._on_call(error is not None, 0.0 if error is not None else seconds)
            if error is not None:
                _fail(group, error)
                continue
            start = 0
            for waiting in group:
                end = start + len(waiting.rows)
                if not waiting.future.done():
                    waiting.future.set_result((scores[start:end], seconds))
                start = end
        self._start()

    def _look(self) -> None:
        """See whether the call under way is overdue, and look again when it would be."""
        self._timer = None
        if not self._under_way or self._stuck:
            return
        left = self._since + self._limit - time.perf_counter()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._expire()

    def _expire(self) -> None:
        """The batch is overdue, and so is what would have to wait behind it."""
        self._stuck = True
        self._on_call(True, self._limit)
        waiting, self._waiting, self._rows = self._waiting, [], 0
        _fail([*self._under_way, *waiting], Overdue(f"no answer within {self._limit:g} s"))
        self._interrupt()


def _groups(batch: Batch, most: int) -> Iterator[Batch]:
    """The batch in order, cut into groups of at most so many rows; a submission is never cut."""
    group: Batch = []
    rows = 0
    for waiting in batch:
        if group and rows + len(waiting.rows) > most:
            yield group
            group, rows = [], 0
        group.append(waiting)
        rows += len(waiting.rows)
    yield group


def _fail(batch: list[_Waiting[Any]], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
