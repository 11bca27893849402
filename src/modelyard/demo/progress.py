"""What a person sees while the demo runs: one line per stage, with what it is doing right now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.status import Status

from modelyard.demo.kept import StageTimes

CHANGE_SECONDS = 10.0
"""Without a terminal, what a stage is doing is told when it has changed, and not sooner after the last time."""
FIGURES_SECONDS = 60.0
"""The same where only figures (what follows the ``|``) have changed: a sign of life for whoever reads the log."""
KEEP_SECONDS = 5.0


class Narrator(Protocol):
    """Takes what happens."""

    def now(self, what: str) -> None:
        """What the stage is doing; replaces what was said before."""

    def say(self, what: str) -> None:
        """Something worth keeping on the screen."""


class Progress:
    """Stages on a console, and their times. Without a terminal one event is one line, however long."""

    def __init__(self, console: Console, times: StageTimes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._times, self._clock = console, times, clock
        self._status: Status | None = None
        self._stage = ""
        self._last, self._told = "", float("-inf")
        self._counted = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage has taken, with earlier runs."""
        return self._times.seconds

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """One named stage; its time counts also when it ends in an error, or was interrupted and goes on."""
        began = self._counted = self._clock()
        self._stage = name
        self._line(f"[bold]{title}[/bold]", markup=True)
        ended = False
        try:
            if self._console.is_terminal:
                with self._console.status("") as self._status:
                    yield
            else:
                yield
            ended = True
        finally:
            self._status = None
            self._count(ended=ended)
            self._stage = ""
        self._line(f"  done in {self._clock() - began:.1f} s{self._altogether(name, began)}", style="green")

    def now(self, what: str) -> None:
        """What the stage is doing: that it does anything means that it is not only looked at again."""
        self._times.reopen(self._stage)
        if self._stage and self._clock() - self._counted >= KEEP_SECONDS:
            self._count(ended=False)
        if self._status is not None:
            self._status.update(what)
        elif what != self._last and self._clock() - self._told >= self._patience(what):
            self._last, self._told = what, self._clock()
            self.say(what)

    def say(self, what: str) -> None:
        """A line that stays."""
        self._line(f"  {what}")

    def _patience(self, what: str) -> float:
        same = what.partition(" | ")[0] == self._last.partition(" | ")[0]
        return FIGURES_SECONDS if same else CHANGE_SECONDS

    def _count(self, *, ended: bool) -> None:
        since, self._counted = self._counted, self._clock()
        self._times.add(self._stage, self._counted - since, ended=ended)

    def _altogether(self, name: str, began: float) -> str:
        before = self._times.of(name) - (self._clock() - began)
        return f" ({self._times.of(name):.1f} s with earlier runs)" if before > 1 else ""

    def _line(self, text: str, *, markup: bool = False, style: str | None = None) -> None:
        # A log is read by programs too: lines are wrapped by whoever shows them.
        self._console.print(text, highlight=False, markup=markup, style=style, soft_wrap=not self._console.is_terminal)
