"""Who looks on while a training runs: nobody, a progress bar, or a tracked run (``flows.training_log``)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the fitting rows came to."""

    epoch: int
    fit_loss: float
    validation_loss: float
    lr: float


class Watch:
    """Told of a training's progress, in the process that trains. This one does nothing with it."""

    def began(self, steps: int, done: int, history: Sequence[Epoch]) -> None:
        """``done`` of at most ``steps`` steps are behind; ``history`` is what an interrupted training had come to."""

    def stepped(self) -> None:
        """One more step."""

    def closed(self, epoch: Epoch) -> None:
        """An epoch has ended."""

    def ended(self) -> None:
        """The training has ended, well or not."""


class All(Watch):
    """Tells several."""

    def __init__(self, *watches: Watch) -> None:
        self._watches = watches

    def began(self, steps: int, done: int, history: Sequence[Epoch]) -> None:
        for each in self._watches:
            each.began(steps, done, history)

    def stepped(self) -> None:
        for each in self._watches:
            each.stepped()

    def closed(self, epoch: Epoch) -> None:
        for each in self._watches:
            each.closed(epoch)

    def ended(self) -> None:
        for each in self._watches:
            each.ended()


class Bar(Watch):
    """A progress bar where a person looks on, else a line in the log for each epoch."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def began(self, steps: int, done: int, history: Sequence[Epoch]) -> None:  # noqa: ARG002
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("training", total=steps, completed=done)
            self._bar.start()

    def stepped(self) -> None:
        if self._bar:
            self._bar.advance(self._task)

    def closed(self, epoch: Epoch) -> None:
        said = f"epoch {epoch.epoch}: fit {epoch.fit_loss:.4f}, validation {epoch.validation_loss:.4f}"
        if self._bar:
            self._bar.update(self._task, description=said)
        else:
            _log.info(said)

    def ended(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
