"""CI cycles, and how good an order of their tests was: NAPFD, with and without a limit on time.

The measure is that of Qu, Cohen and Rothermel ("Combinatorial interaction regression testing", ICSM 2007) as Spieker,
Gotlieb, Marijan and Mossige use it ("Reinforcement learning for automatic test case prioritization and selection in
continuous integration", ISSTA 2017): every failed execution is a fault of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Cycle:
    """One cycle: what is asked to be ordered, and what became of it.

    ``tests`` are its distinct test ids, ascending: what a policy is shown, with ``day`` (days since 1970 at its first
    execution). The rest is known only once the cycle has ended. There is a row for each execution, in the order in
    which they ran; ``place`` says which of ``tests`` it was. How often a test runs in a cycle is not told beforehand:
    it is repeated because of what its first execution gave.
    """

    number: int
    day: float
    tests: Ints
    place: Ints
    failed: NDArray[np.bool_]
    duration_ms: Floats

    @property
    def executions(self) -> Floats:
        """How often each of ``tests`` ran."""
        return np.bincount(self.place, minlength=len(self.tests)).astype(np.float64)

    @property
    def failures(self) -> Floats:
        """How often each of ``tests`` failed."""
        return np.bincount(self.place, weights=self.failed, minlength=len(self.tests))


def cycles(executions: pd.DataFrame) -> Iterator[Cycle]:
    """The cycles of a table with ``execution_id, test_id, run_at, duration_ms, failed, cycle``, in order."""
    ordered = executions.sort_values(["cycle", "execution_id"])
    for number, rows in ordered.groupby("cycle"):
        tests, place = np.unique(rows["test_id"].to_numpy(dtype=np.int64), return_inverse=True)
        started = rows["run_at"].min().value / 1e6 / DAY_MS
        failed, took = rows["failed"].to_numpy(dtype=bool), rows["duration_ms"].to_numpy(dtype=np.float64)
        yield Cycle(int(str(number)), started, tests, place.astype(np.int64), failed, took)


def napfd(cycle: Cycle, scores: Floats) -> float:
    """How early the failures come if tests run by falling score: from 0 to 1 - failures / (2 * executions).

    Exact expectation over all orders of tests (and executions) whose scores are alike, so that no luck is in it.

    Raises:
        ValueError: nothing failed in the cycle: the measure is not defined.

    >>> one = Cycle(1, 0.0, np.array([3, 5]), np.array([0, 1]), np.array([False, True]), np.array([1.0, 1.0]))
    >>> napfd(one, np.array([0.1, 0.9])), napfd(one, np.array([0.9, 0.1])), napfd(one, np.array([0.0, 0.0]))
    (0.75, 0.25, 0.5)
    """
    _require_failure(cycle)
    runs, failures = cycle.executions, cycle.failures
    levels, level = np.unique(-scores, return_inverse=True)
    width = np.bincount(level, weights=runs, minlength=len(levels))
    middle = np.cumsum(width) - width + (width + 1) / 2
    total, failed = runs.sum(), failures.sum()
    return float(1 - (failures * middle[level]).sum() / (total * failed) + 1 / (2 * total))


def napfd_within(cycle: Cycle, scores: Floats, share: float, rng: np.random.Generator) -> float:
    """The same where only ``share`` of the time of all executions may be spent; equal scores are ordered by ``rng``.

    Executions are taken by falling score; one that does not fit any more is left out, and the next is tried.

    Raises:
        ValueError: nothing failed in the cycle.
    """
    _require_failure(cycle)
    order = np.lexsort((rng.random(len(cycle.place)), -scores[cycle.place]))
    left = share * float(cycle.duration_ms.sum())
    rank, found, ranks = 0, 0, 0
    for index in order:
        if cycle.duration_ms[index] > left:
            continue
        left -= cycle.duration_ms[index]
        rank += 1
        if cycle.failed[index]:
            found, ranks = found + 1, ranks + rank
    total, failed = len(order), int(cycle.failed.sum())
    part = found / failed
    return part - ranks / (total * failed) + part / (2 * total)


def _require_failure(cycle: Cycle) -> None:
    if not cycle.failed.any():
        raise ValueError(f"cycle {cycle.number} has no failure: NAPFD is not defined")
