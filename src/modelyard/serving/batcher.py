"""Micro-batching: requests that arrive in one turn of the event loop are scored in one call.

There is no waiting time: a lone request is scored in the very next turn, and under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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

    A version that hangs keeps its thread and nothing else: what waits for it is overdue after ``limit_s``, and until
    the thread comes back new rows are refused at once.
    """

    def __init__(self, score: Score, *, limit_s: float, on_call: OnCall, queue_rows: int = 4096) -> None:
        self._score, self._limit, self._on_call, self._queue_rows = score, limit_s, on_call, queue_rows
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[tuple[list[_Waiting[Timed]], asyncio.TimerHandle] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._waiting: list[_Waiting[Timed]] = []
        self._rows = 0
        self._busy = self._stuck = self._closed = False

    def submit(self, rows: Encoded) -> asyncio.Future[Timed]:
        """The rows' scores and the seconds that scoring their batch took.

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
        timer = self._loop.call_later(self._limit, self._expire, batch)
        if self._thread is None:
            # No executor: its futures and locks cost more than the score, and it would wait at exit for a version
            # that hangs.
            self._thread = Thread(target=self._run, name="challenger", daemon=True)
            self._thread.start()
        self._work.put((batch, timer))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            batch, timer = work
            start, scores, error = time.perf_counter(), _NONE, None
            try:
                scores = self._score(concatenate([w.rows for w in batch]))
            except BaseException as raised:  # noqa: BLE001  whatever it raises is the version's failure
                error = raised
            seconds = time.perf_counter() - start
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish, batch, timer, scores, seconds, error)

    def _finish(
        self,
        batch: list[_Waiting[Timed]],
        timer: asyncio.TimerHandle,
        scores: Scores,
        seconds: float,
        error: BaseException | None,
    ) -> None:
        timer.cancel()
        was_stuck, self._stuck = self._stuck, False
        if not was_stuck:
            self._on_call(error is not None, 0.0 if error is not None else seconds)
        if error is not None:
            _fail(batch, error)
        else:
            start = 0
            for waiting in batch:
                end = start + len(waiting.rows)
                if not waiting.future.done():
                    waiting.future.set_result((scores[start:end], seconds))
                start = end
        self._start()

    def _expire(self, batch: list[_Waiting[Timed]]) -> None:
        """The batch is overdue, and so is what would have to wait behind it."""
        self._stuck = True
        self._on_call(True, self._limit)
        waiting, self._waiting, self._rows = self._waiting, [], 0
        _fail([*batch, *waiting], Overdue(f"no answer within {self._limit:g} s"))


def _fail(batch: list[_Waiting[Any]], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
