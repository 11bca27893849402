"""Traffic in the background: the replay in a thread of its own, and the record of what was sent and what failed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelyard.core.errors import NotFound
from modelyard.demo.gateway_client import Tally
from modelyard.demo.kept import Warn, keep, kept
from modelyard.demo.replay import Pace, Replay

SAVE_SECONDS = 3.0
"""How often the counts are saved meanwhile: a driver that is killed loses no more than these seconds."""


class Record:
    """``traffic.json``: counts over all runs of the demo in one home."""

    def __init__(self, path: Path, warn: Warn = lambda _: None) -> None:
        self._path = path
        self.tally: Tally = kept(path, _tally, warn) or Tally()

    def save(self) -> None:
        """Write the counts, whole or not at all; they may go on meanwhile."""
        keep(self._path, {"sent": self.tally.sent.copy(), "failures": self.tally.failures.copy()})


def _tally(content: Any) -> Tally:
    sent = Counter({str(kind): int(count) for kind, count in content["sent"].items()})
    return Tally(sent, [(float(at), str(where), str(what)) for at, where, what in content["failures"]])


class Traffic:
    """A replay that runs until it is stopped or the past has ended."""

    def __init__(self, replay: Replay, pace: Pace, record: Record, *, save_seconds: float = SAVE_SECONDS) -> None:
        self._replay, self.pace, self.record, self._save_seconds = replay, pace, record, save_seconds
        self._thread = threading.Thread(target=self._guarded, args=(replay.run,), name="replay", daemon=True)
        self._keeper = threading.Thread(target=self._guarded, args=(self._keep,), name="record", daemon=True)
        self._error: BaseException | None = None
        self._began, self._sent_before = time.monotonic(), record.tally.sent["predict"]

    @property
    def reached(self) -> datetime:
        """How far the replay has come."""
        return self._replay.reached

    @property
    def sent(self) -> int:
        """Predictions asked for by this replay."""
        return self.record.tally.sent["predict"] - self._sent_before

    @property
    def per_second(self) -> float:
        """Predictions per second since it began."""
        return self.sent / max(time.monotonic() - self._began, 1e-9)

    def check(self) -> None:
        """Raise what ended the replay, if anything did.

        Raises:
            NotFound: there is no more past to replay.
        """
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive() and not self.pace.stopped.is_set():
            raise NotFound(
                "more traffic", self._replay.window, hint="the whole past has been replayed; `make clean` starts anew"
            )

    def __enter__(self) -> Self:
        self._thread.start()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pace.stopped.set()
        self._thread.join()
        self._keeper.join()
        self.record.save()

    def _keep(self) -> None:
        while not self.pace.stopped.wait(self._save_seconds):
            self.record.save()

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  handed to the thread that watches
            self._error = error
