"""The ranker: a linear order of the tests, learned anew before each cycle from all earlier ones.

NAPFD of a cycle is 1/2 + (passed share) * (AUC - 1/2), where AUC is the share of (failed, passed) pairs in the right
order. So a cycle weighs as much as its passed share whatever its size, and within it the failed and the passed
executions weigh half each: logistic regression with these weights, on features less their mean in the cycle, since
only differences within a cycle move the order. Convex, so it has no seed.
"""

from __future__ import annotations

import numpy as np

from .cycles import Cycle, Floats, Ints
from .history import FEATURES, History

START = {"rate": 1.0, "last_failed": 0.3}
"""Where the weights start, and what they are drawn to while little has been seen: order by the rate of failures."""

SHRINKAGE = 1.0
NEWTON_STEPS = 2
"""From the weights of the cycle before; more move nothing."""


class Ranker:
    """Scores tests for a cycle; learns from cycles that have ended."""

    def __init__(self, shrinkage: float = SHRINKAGE) -> None:
        self.history = History()
        self._start = np.array([START.get(name, 0.0) for name in FEATURES] + [0.0])
        self.weights = self._start.copy()
        self._pull = np.full(len(FEATURES) + 1, shrinkage)
        self._pull[-1] = 0.01
        self._rows = np.empty((0, len(FEATURES) + 1))
        self._failed, self._passed = np.empty(0), np.empty(0)

    def score(self, tests: Ints, day: float) -> Floats:
        """The higher, the earlier a test should run."""
        return np.asarray(self.history.features(tests, day) @ self.weights[:-1])

    def learn(self, cycle: Cycle) -> None:
        """Take in a cycle that has ended, with the features as they were before it."""
        rows = self.history.features(cycle.tests, cycle.day)
        self.history.learn(cycle)
        failed, passed = pair_weights(cycle)
        if failed.any():
            own = np.column_stack([rows - rows.mean(axis=0), np.ones(len(rows))])
            self._rows = np.vstack([self._rows, own])
            self._failed, self._passed = np.append(self._failed, failed), np.append(self._passed, passed)
            self._fit()

    def _fit(self) -> None:
        for _ in range(NEWTON_STEPS):
            p = 1 / (1 + np.exp(-np.clip(self._rows @ self.weights, -30, 30)))
            slope = self._rows.T @ (self._passed * p - self._failed * (1 - p))
            slope += self._pull * (self.weights - self._start)
            bend = (self._rows * ((self._failed + self._passed) * p * (1 - p))[:, None]).T @ self._rows
            self.weights = self.weights - np.linalg.solve(bend + np.diag(self._pull), slope)


def pair_weights(cycle: Cycle) -> tuple[Floats, Floats]:
    """What each test's failures and passes weigh: the passed share of the cycle each, or nothing where all went alike.

    >>> tests, day = np.array([1, 2, 3]), 0.0
    >>> one = Cycle(1, day, tests, np.array([0, 1, 2, 2]), np.array([True, False, False, False]), np.ones(4))
    >>> [[float(x) for x in side] for side in pair_weights(one)]
    [[0.75, 0.0, 0.0], [0.0, 0.25, 0.5]]
    """
    failures = cycle.failures
    passes = cycle.executions - failures
    total_failed, total_passed = failures.sum(), passes.sum()
    if not total_failed or not total_passed:
        return np.zeros(len(failures)), np.zeros(len(failures))
    weight = total_passed / (total_failed + total_passed)
    return weight * failures / total_failed, weight * passes / total_passed
