"""Small JSON files that the demo keeps over its runs, each whole or absent; one of them has the times of its stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.serving.files import write_atomically

Warn = Callable[[str], None]


def keep(path: Path, value: Any) -> None:
    """Replace the file by this value as JSON."""
    write_atomically(path, json.dumps(value).encode() + b"\n")


def kept(path: Path, shape: Callable[[Any], Any], warn: Warn) -> Any:
    """What the file holds, as ``shape`` reads it; None where there is no such file.

    One that ``shape`` cannot read is moved aside and told of: what it counted is not guessed.
    """
    if not path.is_file():
        return None
    try:
        return shape(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        warn(f"{path} is damaged ({type(error).__name__}: {error}) and now {aside.name}; what it counted starts anew")
        return None


class StageTimes:
    """How long each stage has taken, over all runs of the demo in one home.

    A stage that was interrupted and goes on adds to its seconds; one that has come to its end keeps them, so that
    looking at it again costs nothing. One that really runs again is reopened, and adds to them.
    """

    def __init__(self, home: Path, warn: Warn) -> None:
        self._home, self._path = home, home / "demo" / "times.json"
        self._spent: dict[str, float] = {}
        self._ended: set[str] = set()
        if (found := kept(self._path, _times, warn)) is not None:
            self._spent, self._ended = found

    @property
    def seconds(self) -> dict[str, float]:
        """By stage, in the order in which they were first begun."""
        return {name: round(spent, 1) for name, spent in self._spent.items()}

    def of(self, stage: str) -> float:
        """The seconds of one stage so far."""
        return float(self._spent.get(stage, 0.0))

    def reopen(self, stage: str) -> None:
        """The stage has something to do, also if it had ended earlier."""
        self._ended.discard(stage)

    def add(self, stage: str, seconds: float, *, ended: bool) -> None:
        """Count the seconds and keep them; a stage that has ended and was not reopened stays as it is."""
        if stage in self._ended:
            return
        self._spent[stage] = self.of(stage) + seconds
        if ended:
            self._ended.add(stage)
        if not self._home.is_dir():
            return  # the start was refused before anything was made, and a home of ours is never only this file
        stages = {name: {"seconds": round(s, 3), "ended": name in self._ended} for name, s in self._spent.items()}
        keep(self._path, {"stages": stages})


def _times(content: Any) -> tuple[dict[str, float], set[str]]:
    stages = content["stages"]
    spent = {str(name): float(stage["seconds"]) for name, stage in stages.items()}
    if wrong := [name for name, seconds in spent.items() if not 0 <= seconds < float("inf")]:
        raise ValueError(f"no time: {', '.join(wrong)}")
    return spent, {name for name, stage in stages.items() if stage["ended"] is True}
