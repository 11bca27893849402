"""What is known of the tests when a cycle is about to start: its earlier cycles, and nothing of itself.

``features`` may be called any number of times; only ``learn`` moves the past forward. Scales are fixed and not taken
from the data, so that no later cycle is in them.
"""

from __future__ import annotations

import numpy as np

from .cycles import Cycle, Floats, Ints

FEATURES = (
    "rate",
    "last_failed",
    "new",
    "similar_recent",
    "similar",
    "rate_30d",
    "streak",
    "since_failure",
    "new_neighbours",
)
"""Columns of ``History.features``.

rate            share of failures, mean over the test's earlier cycles (log odds, mixed with 2 cycles of 1/2)
last_failed     the last verdict: +0.5 failed, -0.5 passed, 0 none
new             1 where the test has never run
similar_recent  the rate over earlier cycles, each weighted by how alike its set of tests is and by its age (log odds)
similar         the same without the age
rate_30d        the rate over executions, each weighing half as much after 30 days (log odds)
streak          executions since the verdict last changed, as log(1 + n); negative for passes
since_failure   executions since the last failure, as log(1 + n)
new_neighbours  for a new test: the rate of the tests with the nearest ids (log odds), else 0
"""

HALF_LIFE_DAYS = 30.0
USUAL_NEIGHBOUR = 0.4
"""Share of failures above which a new test's neighbours speak against it: 45% of first executions fail."""

NEIGHBOURHOOD = 20
"""Beyond this distance of ids exp(-distance) counts for nothing."""

_COUNTS = ("runs", "failed", "cycles", "cycle_rate", "runs_30d", "failed_30d", "last", "streak", "quiet", "took_ms")


class History:
    """Counts per test over the cycles that were learned, oldest first."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self._ids = np.empty(0, dtype=np.int64)
        self._count = {name: np.zeros(0) for name in _COUNTS}
        self._day: float | None = None
        self._days: list[float] = []
        self._member, self._cycle = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self._share = np.empty(0)
        self._answered: tuple[tuple[int, float, bytes], Floats] = ((-1, 0.0, b""), np.empty((0, len(FEATURES))))

    def features(self, tests: Ints, day: float) -> Floats:
        """One row for each test, one column for each of ``FEATURES``, as known on ``day`` before the cycle."""
        # A policy asks twice about each cycle: to score it, and to learn from it.
        asked = (len(self._days), day, tests.tobytes())
        if self._answered[0] != asked:
            self._answered = (asked, self._features(tests, day))
        return self._answered[1]

    def _features(self, tests: Ints, day: float) -> Floats:
        at = np.array([self._place.get(int(test), -1) for test in tests])
        known = at >= 0
        of = {name: np.where(known, self._pick(values, at), 0.0) for name, values in self._count.items()}
        faded = self._faded(day)
        sums = self._similar(at, day)
        columns = (
            log_odds((of["cycle_rate"] + 1) / (of["cycles"] + 2)),
            np.where(known, of["last"] - 0.5, 0.0),
            (~known).astype(np.float64),
            log_odds((sums[1] + 0.25) / (sums[0] + 0.5)),
            log_odds((sums[3] + 0.25) / (sums[2] + 0.5)),
            log_odds((of["failed_30d"] * faded + 0.5) / (of["runs_30d"] * faded + 1)),
            np.sign(of["streak"]) * np.log1p(np.abs(of["streak"])),
            np.log1p(of["quiet"]),
            np.where(known, 0.0, self._neighbours(tests)),
        )
        return np.column_stack(columns)

    def durations(self, tests: Ints) -> Floats:
        """How long each test took when it last ran, in ms; the median of all for one that never ran, 1 before any."""
        at = np.array([self._place.get(int(test), -1) for test in tests])
        took = self._count["took_ms"]
        usual = float(np.median(took)) if len(took) else 1.0
        return np.where(at >= 0, self._pick(took, at), usual)

    def learn(self, cycle: Cycle) -> None:
        """Take in a cycle that has ended. Cycles come in order of time."""
        at = np.array([self._index(int(test)) for test in cycle.tests])
        of, runs, failures = self._count, cycle.executions, cycle.failures
        faded, self._day = self._faded(cycle.day), cycle.day
        of["runs_30d"] *= faded
        of["failed_30d"] *= faded
        of["runs_30d"][at] += runs
        of["failed_30d"][at] += failures
        for index, failed in zip(at[cycle.place], cycle.failed, strict=True):
            self._execution(index, bool(failed))
        of["took_ms"][at[cycle.place]] = np.maximum(cycle.duration_ms, 1.0)
        share = failures / runs
        of["cycles"][at] += 1
        of["cycle_rate"][at] += share
        self._member = np.concatenate([self._member, at])
        self._cycle = np.concatenate([self._cycle, np.full(len(at), len(self._days))])
        self._share = np.concatenate([self._share, share])
        self._days.append(cycle.day)

    def _execution(self, index: int, failed: bool) -> None:
        of = self._count
        if of["runs"][index] > 0 and bool(of["last"][index]) != failed:
            of["streak"][index] = 0
        of["streak"][index] += 1 if failed else -1
        of["runs"][index] += 1
        of["failed"][index] += failed
        of["quiet"][index] = 0 if failed else of["quiet"][index] + 1
        of["last"][index] = failed

    def _index(self, test: int) -> int:
        if test not in self._place:
            self._place[test] = len(self._ids)
            self._ids = np.append(self._ids, test)
            self._count = {name: np.append(values, 0.0) for name, values in self._count.items()}
        return self._place[test]

    def _faded(self, day: float) -> float:
        return 1.0 if self._day is None else float(np.exp2((self._day - day) / HALF_LIFE_DAYS))

    def _pick(self, values: Floats, at: Ints) -> Floats:
        return values[at] if len(values) else np.zeros(len(at))

    def _similar(self, at: Ints, day: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Weighted runs and failures of each test over earlier cycles: by likeness and age, and by likeness alone.

        Two cycles are as alike as the cosine of their sets of tests.
        """
        if not self._days:
            nothing = np.zeros(len(at))
            return nothing, nothing, nothing, nothing
        asked = np.zeros(len(self._ids))
        asked[at[at >= 0]] = 1
        common = np.bincount(self._cycle, weights=asked[self._member])
        alike = common / np.sqrt(np.bincount(self._cycle) * len(at))
        recent = alike * np.exp2((np.array(self._days) - day) / HALF_LIFE_DAYS)
        sums = []
        for weight in (recent, alike):
            each = weight[self._cycle]
            for value in (each, each * self._share):
                total = np.bincount(self._member, weights=value, minlength=len(self._ids))
                sums.append(np.where(at >= 0, self._pick(total, at), 0.0))
        return sums[0], sums[1], sums[2], sums[3]

    def _neighbours(self, tests: Ints) -> Floats:
        if not len(self._ids):
            return np.zeros(len(tests))
        order = np.argsort(self._ids)
        ids, rate = self._ids[order], ((self._count["failed"] + 0.5) / (self._count["runs"] + 1))[order]
        found = np.zeros(len(tests))
        for row, test in enumerate(tests):
            low, high = np.searchsorted(ids, [test - NEIGHBOURHOOD, test + NEIGHBOURHOOD + 1])
            near = np.exp(-np.abs(ids[low:high] - test).astype(np.float64)) * (ids[low:high] != test)
            if near.sum() > 1e-3:
                mean = float(near @ rate[low:high] / near.sum())
                found[row] = float(log_odds(np.array(mean)) - log_odds(np.array(USUAL_NEIGHBOUR)))
        return found


def log_odds(share: Floats) -> Floats:
    """log(p / (1 - p)), with p held between 0.01 and 0.99.

    >>> [round(float(x), 2) for x in log_odds(np.array([0.5, 0.75, 1.0]))]
    [0.0, 1.1, 4.6]
    """
    held = np.clip(share, 0.01, 0.99)
    return np.asarray(np.log(held / (1 - held)))
