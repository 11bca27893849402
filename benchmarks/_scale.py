"""How much of everything is measured, and what a part of the benchmark comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from _report import Row


@dataclass(frozen=True)
class Scale:
    """Sizes. ``peers`` is whether servers with an installation of their own, and MLflow, take part."""

    rounds: int = 5
    seconds: float = 3.0
    open_seconds: float = 60.0
    changes: int = 50
    """Of each kind, in each way."""
    fault_seconds: float = 6.0
    rollbacks: int = 200
    trials: int = 1000
    peers: bool = True


FULL = Scale()
QUICK = Scale(rounds=1, seconds=1, open_seconds=1, changes=3, fault_seconds=1, rollbacks=4, trials=50)


class Found(NamedTuple):
    """The figures of a part, and what else its record keeps; ``absent`` says which peer is missing, and why."""

    rows: list[Row]
    more: dict[str, Any]
