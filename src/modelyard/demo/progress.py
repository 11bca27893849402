"""What a person sees while the demo runs: one line per stage, with what it is doing right now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.status import Status


class Narrator(Protocol):
    """Takes what happens."""

    def now(self, what: str) -> None:
        """What the stage is doing; replaces what was said before."""

    def say(self, what: str) -> None:
        """Something worth keeping on the screen."""


class Progress:
    """Stages on a console, and their times. Without a terminal every change is a line of its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._last = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """One named stage; its time counts also when it ends in an error."""
        began = time.monotonic()
        self._console.print(f"[bold]{title}[/bold]", highlight=False)
        try:
            if self._console.is_terminal:
                with self._console.status("") as self._status:
                    yield
            else:
                yield
        finally:
            self._status = None
            self.seconds[name] = round(time.monotonic() - began, 1)
        self._console.print(f"  done in {self.seconds[name]:.1f} s", style="green", highlight=False)

    def now(self, what: str) -> None:
        """What the stage is doing."""
        if self._status is not None:
            self._status.update(what)
        elif what.partition(" | ")[0] != self._last:
            self._last = what.partition(" | ")[0]
            self.say(what)

    def say(self, what: str) -> None:
        """A line that stays."""
        self._console.print(f"  {what}", highlight=False, markup=False)
