"""Traffic in the background: the replay in a thread of its own, and the record of what was sent and what failed."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.core.errors import NotFound
from modelyard.demo.gateway_client import Tally
from modelyard.demo.replay import Pace, Replay


class Record:
    """``traffic.json``: counts over all runs of the demo in one home."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tally = Tally()
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.tally = Tally(Counter(kept["sent"]), [(at, where, what) for at, where, what in kept["failures"]])

    def save(self) -> None:
        """Write the counts, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps({"sent": dict(self.tally.sent), "failures": self.tally.failures}), encoding="utf-8")
        draft.replace(self._path)


class Traffic:
    """A replay that runs until it is stopped or the past has ended."""

    def __init__(self, replay: Replay, pace: Pace, record: Record) -> None:
        self._replay, self.pace, self.record = replay, pace, record
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pace.stopped.set()
        self._thread.join()
        self.record.save()

    def _run(self) -> None:
        try:
            self._replay.run()
        except BaseException as error:  # noqa: BLE001  handed to the thread that watches
            self._error = error
