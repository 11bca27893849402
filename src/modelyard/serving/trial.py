"""Asking a version on trial at the least cost that keeps everybody safe from it.

A hand-over to a thread and back costs more than the score does. A version that has proved quick is therefore asked on
the event loop. A watchdog ends a call there that overruns; the rows are then put to the version's thread, as those of
any version that is not trusted, and it has to prove itself anew. So a version that hangs at last holds up a replica's
users once, for some 30 ms of processor time (``scorer.age``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol

from modelyard.serving.batcher import OnCall, Overdue, Scores, ThreadBatcher, Timed
from modelyard.serving.encoding import Encoded
from modelyard.serving.scorer import Interrupted, age

QUICK_S = 0.001
"""Processor time of a call that may be made on the event loop. (Not wall time: a busy machine is nobody's fault.)"""
FIRST_PROOF, LONGEST_PROOF = 50, 6400
"""Quick calls in a row that are asked of a version at first, and at most."""
MOST_ROWS = 64
"""More rows than these go to the thread."""
CUT_S = 0.02
"""A call on the event loop is ended at this age (``scorer.age``), and at most one look of the watchdog later."""
LOOK_S = 0.01
_IDLE_LOOKS = 100


class Call(Protocol):
    """A way into a version by which one call at a time is made, and ended from another thread."""

    def score(self, rows: Encoded) -> Scores:
        """The scores. Raises ``Interrupted`` where the call was ended, or what the version raises."""
        ...

    def interrupt(self, older_than_s: float = 0.0) -> None:
        """End the call under way if it has taken longer than this."""
        ...

    @property
    def under_way(self) -> bool:
        """Whether a call is being made."""
        ...


class Proof:
    """Whether a version may be asked on the event loop.

    So many quick calls in a row earn it, one that is not quick loses it; each call that had to be cut short doubles
    what the next proof takes.

    >>> proof = Proof(first=2)
    >>> [proof.tell(quick) for quick in (True, True, True, False, True, True)]
    [False, True, True, False, False, True]
    >>> proof.cut()
    >>> [proof.tell(True) for _ in range(4)]
    [False, False, False, True]
    """

    def __init__(self, first: int = FIRST_PROOF, longest: int = LONGEST_PROOF) -> None:
        self._needed, self._longest, self._seen = first, longest, 0
        self.given = False

    def tell(self, quick: bool) -> bool:
        """Whether it is given after one more call."""
        self._seen = self._seen + 1 if quick else 0
        self.given = self._seen >= self._needed
        return self.given

    def cut(self) -> None:
        """A call was cut short."""
        self.given, self._seen = False, 0
        self._needed = min(2 * self._needed, self._longest)


class Watchdog:
    """Looks from a thread of its own whether a call has overrun; asleep while there is nothing to watch."""

    def __init__(self, call: Call, limit_s: float, look_s: float = LOOK_S) -> None:
        self._call, self._limit, self._look = call, limit_s, look_s
        self._calls, self._asleep, self._closed = 0, False, False
        self._wake = Event()
        self._thread: Thread | None = None

    def watch(self) -> None:
        """A call is about to be made."""
        self._calls += 1
        if self._asleep:
            self._wake.set()
        elif self._thread is None:
            self._thread = Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        idle = 0
        while not self._closed:
            seen = self._calls
            time.sleep(self._look)
            self._call.interrupt(self._limit)
            idle = idle + 1 if self._calls == seen and not self._call.under_way else 0
            if idle >= _IDLE_LOOKS:
                self._sleep(seen)
                idle = 0

    def _sleep(self, seen: int) -> None:
        self._asleep = True
        # A call that began before the line above has not woken anybody, but has been counted.
        if self._calls == seen:
            self._wake.wait()
        self._asleep = False
        if not self._closed:
            self._wake.clear()


class Trial:
    """One version on trial: ``at_once`` where it may be, ``submit`` otherwise. Each call is told to ``on_call``."""

    def __init__(self, call: Callable[[], Call], *, limit_s: float, on_call: OnCall) -> None:
        self._here, there = call(), call()
        self._there, self._limit, self._on_call, self._cpu_s = there, limit_s, on_call, 0.0
        self._waits = 0
        self.proof, self._watchdog, self._closed = Proof(), Watchdog(self._here, CUT_S), False
        self.thread = ThreadBatcher(self._timed, limit_s=limit_s, on_call=self._told, interrupt=there.interrupt)

    def at_once(self, rows: Encoded) -> Scores | None:
        """The scores, or None where the version has to be asked by ``submit``.

        Raises what the version raises, and ``Overdue`` where it could not be ended and came back past its limit.
        """
        if not self.proof.given or self._closed or len(rows) > MOST_ROWS:
            return None
        self._watchdog.watch()
        start, cpu, old = time.perf_counter(), time.thread_time(), age()
        try:
            scores = self._here.score(rows)
        except Interrupted:
            # Nobody is charged yet: by its thread the version has all the time that its limits give it.
            self.proof.cut()
            return None
        except Exception:
            self.proof.tell(False)
            self._on_call(True, 0.0)
            raise
        took = time.perf_counter() - start
        self._waits = self._waits + 1 if took >= CUT_S else 0
        if old() < CUT_S and self._waits < 2:
            # Once, it may have been the machine that was busy.
            self.proof.tell(time.thread_time() - cpu <= QUICK_S)
        else:  # a single node, which nothing ends; it need not even use the processor (a GPU's work)
            self.proof.cut()
        self._on_call(took > self._limit, took)
        if took > self._limit:
            raise Overdue(f"no answer within {self._limit:g} s")
        return scores

    def submit(self, rows: Encoded) -> asyncio.Future[Timed]:
        """``ThreadBatcher.submit``."""
        return self.thread.submit(rows)

    def close(self) -> None:
        """Take no more work."""
        self._closed = True
        self._watchdog.close()
        self.thread.close()

    def _timed(self, rows: Encoded) -> Scores:
        start = time.thread_time()
        scores = self._there.score(rows)
        self._cpu_s = (time.thread_time() - start) / max(1.0, len(rows) / MOST_ROWS)
        return scores

    def _told(self, failed: bool, seconds: float) -> None:
        self.proof.tell(not failed and self._cpu_s <= QUICK_S)
        self._on_call(failed, seconds)
