"""What a version on trial uses up: processor time by call, memory by loading it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from os import sysconf
from pathlib import Path
from statistics import median
from time import monotonic, thread_time

from modelyard.serving.batcher import Scores
from modelyard.serving.encoding import Encoded
from modelyard.serving.trial import Call

_STATM = Path("/proc/self/statm")
_MOST_CALLS = 10_000
SPAN_S, SPAN_CALLS = 1.0, 8
"""Seconds and calls that are charged together, at least."""
_PAGE = sysconf("SC_PAGE_SIZE")


class Meter:
    """Processor time of calls, noted in the thread that makes them and charged on the event loop, a second at a time.

    Time of the calling thread, not of the clock, for a busy machine is nobody's fault. Yet cold caches, a page that has
    to be fetched, or a virtual machine's host that is busy count as the thread's, and make some calls cost many times
    what they do. So a trial is not a call: it is a span of at least ``SPAN_S`` seconds and ``SPAN_CALLS`` calls, and
    what is judged is its median call. ONNX Runtime has no threads of its own here (``scorer``), so that all of a call's
    work is in it.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._since = clock, clock()
        self._calls: deque[float] = deque(maxlen=_MOST_CALLS)

    def add(self, seconds: float, rows: int) -> None:
        """One call has come back, raised, or was ended."""
        self._calls.append(seconds / rows)

    def take(self) -> float | None:
        """Processor seconds a row in the median call of a span, once it is over; None before."""
        now = self._clock()
        if now - self._since < SPAN_S or len(self._calls) < SPAN_CALLS:
            return None
        self._since = now
        return median(self._calls.popleft() for _ in range(len(self._calls)))


class Metered:
    """A way into a version whose calls are metered."""

    def __init__(self, call: Call, meter: Meter) -> None:
        self._call, self._meter = call, meter

    @property
    def under_way(self) -> bool:
        """Whether a call is being made."""
        return self._call.under_way

    def score(self, rows: Encoded) -> Scores:
        """The scores, or what the version raises."""
        start = thread_time()
        try:
            return self._call.score(rows)
        finally:
            self._meter.add(thread_time() - start, len(rows))

    def interrupt(self, older_than_s: float = 0.0) -> None:
        """End the call under way if it has taken longer than this."""
        self._call.interrupt(older_than_s)


def resident_mb() -> float | None:
    """The memory that this process holds, in MiB; None where the system does not say (only Linux does)."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE / 2**20
    except OSError:
        return None
