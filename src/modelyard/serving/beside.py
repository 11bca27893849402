"""How long a shadow takes beside the champion: the same rows, the same thread, one after the other.

Users' own latency would be no fair comparison: a shadow scores in batches of its own, off the request path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from math import ceil, log
from time import perf_counter

from modelyard.serving.batcher import Scores
from modelyard.serving.encoding import Encoded

STEP = 1.1
"""Calls are counted by steps of ten percent, the upper end of which is told."""
_LEAST_MS = 1e-3


class Beside:
    """Counts of both versions' calls by how long they took. Written in the challenger's thread alone."""

    def __init__(self) -> None:
        self._challenger: Counter[int] = Counter()
        self._champion: Counter[int] = Counter()

    def time(self, champion: Callable[[Encoded], Scores], rows: Encoded, seconds: float) -> None:
        """The challenger took so many seconds for these rows; have the champion score them too."""
        with suppress(Exception):  # what fails here failed for its users, where it was counted
            start = perf_counter()
            champion(rows)
            took = perf_counter() - start
            self._challenger[_cell(seconds)] += 1
            self._champion[_cell(took)] += 1

    def counts(self, *, comparable: bool) -> dict[str, dict[str, float]]:
        """For ``ReplicaState.counts``: calls by upper end in milliseconds, and whether there can be any.

        Versions of different inputs cannot be given the same rows.
        """
        told = {"call_ms.challenger": self._challenger, "call_ms.champion": self._champion}
        # Copied at once: the thread may count on meanwhile.
        counted = {name: {_upper(cell): float(n) for cell, n in dict(cells).items()} for name, cells in told.items()}
        return counted | {"call_ms": {"comparable": float(comparable)}}


def _upper(cell: int) -> str:
    return f"{_LEAST_MS * STEP**cell:.6g}"


def _cell(seconds: float) -> int:
    return max(0, ceil(log(max(1e3 * seconds, _LEAST_MS) / _LEAST_MS) / log(STEP)))
