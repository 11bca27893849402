"""A training's progress in its tracked run, while it runs: in batches, now and then, never twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from modelyard.core.errors import Unavailable
from modelyard.ports.tracking import Run
from modelyard.training.gpu import gpu_metrics
from modelyard.training.watch import Epoch, Watch

EVERY_SECONDS = 10.0
_log = logging.getLogger(__name__)


class RunLog(Watch):
    """Logs each epoch's losses, learning rate and GPU metrics to a run.

    Epochs that are there already, because the training was interrupted, are left out. While it runs a server that is
    away only delays the numbers; at the end it is an error.
    """

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._last = clock()
        self._waiting: list[tuple[str, float, int]] = []
        self._there: frozenset[int] = frozenset()

    def began(self, steps: int, done: int, history: Sequence[Epoch]) -> None:  # noqa: ARG002
        if history:
            self._there = self._run.steps("validation_loss")
        for epoch in history:
            self._add(epoch, {})

    def closed(self, epoch: Epoch) -> None:
        self._add(epoch, gpu_metrics())
        if self._clock() - self._last < EVERY_SECONDS:
            return
        self._last = self._clock()
        try:
            self.flush()
        except Unavailable as error:
            _log.warning("metrics wait: %s", error)

    def flush(self) -> None:
        """Send what is waiting, in one call.

        Raises:
            Unavailable: the server is away; it is all kept for the next time.
        """
        if self._waiting:
            self._run.metrics(self._waiting)
            self._waiting = []

    def _add(self, epoch: Epoch, more: dict[str, float]) -> None:
        if epoch.epoch not in self._there:
            found = {"fit_loss": epoch.fit_loss, "validation_loss": epoch.validation_loss, "lr": epoch.lr} | more
            self._waiting += [(name, value, epoch.epoch) for name, value in found.items()]
