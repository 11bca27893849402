"""Ways to order the tests of a cycle, and the one loop that judges them all: score, see the outcome, learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from .agent import Agent
from .cycles import Cycle, Floats, Ints, napfd, napfd_within
from .ranker import Ranker


class Policy(Protocol):
    """Scores the tests of a cycle from earlier cycles alone; then is told what became of it."""

    def score(self, tests: Ints, day: float) -> Floats:
        """The higher, the earlier a test should run."""
        ...

    def learn(self, cycle: Cycle) -> None:
        """Take in the cycle, which has ended."""
        ...


class Untaught:
    """All tests alike: a random order."""

    def score(self, tests: Ints, day: float) -> Floats:  # noqa: ARG002
        """Zeros."""
        return np.zeros(len(tests))

    def learn(self, cycle: Cycle) -> None:
        """Nothing is learned."""


class Counting:
    """Order by a count of each test's earlier executions.

    ``last``: the last verdict, tests that never ran last. ``rate``: the share of failures, tests that never ran at 0.3,
    as all tests are on average. ``smoothed``: the share mixed with two executions, of which one failed.
    """

    def __init__(self, by: Literal["last", "rate", "smoothed"]) -> None:
        self._by = by
        self._failed, self._runs, self._last = dict[int, int](), dict[int, int](), dict[int, float]()

    def score(self, tests: Ints, day: float) -> Floats:  # noqa: ARG002
        """The count."""
        if self._by == "last":
            return np.array([self._last.get(int(test), 0.0) for test in tests])
        seen = [(self._failed.get(int(test), 0), self._runs.get(int(test), 0)) for test in tests]
        if self._by == "smoothed":
            return np.array([(failed + 1) / (runs + 2) for failed, runs in seen])
        return np.array([failed / runs if runs else 0.3 for failed, runs in seen])

    def learn(self, cycle: Cycle) -> None:
        """Count."""
        for test, failed in zip(cycle.tests[cycle.place].tolist(), cycle.failed.tolist(), strict=True):
            self._failed[test] = self._failed.get(test, 0) + failed
            self._runs[test] = self._runs.get(test, 0) + 1
            self._last[test] = float(failed)


class Perceptron:
    """A small network fitted online, each cycle a few passes over the latest executions: what RETECS feeds its agent
    (duration, time since the last execution, the last four verdicts), as a forecast of failure.

    ``blend`` adds so much of the mean of the last four verdicts (0.5 where there are none).
    """

    def __init__(self, seed: int, blend: float = 0.0, memory: int = 2000) -> None:
        from sklearn.neural_network import MLPClassifier

        self._network: Any = MLPClassifier((32,), random_state=seed, learning_rate_init=0.01)
        self._blend, self._memory, self._fitted = blend, memory, False
        self._verdicts, self._seen = dict[int, list[float]](), dict[int, tuple[float, float]]()
        self._rows, self._labels = np.empty((0, 6)), np.empty(0)

    def score(self, tests: Ints, day: float) -> Floats:
        """The forecast of failure, with the blend."""
        rows = self._inputs(tests, day)
        forecast = self._network.predict_proba(rows)[:, 1] if self._fitted else np.full(len(rows), 0.5)
        return np.asarray(forecast + self._blend * rows[:, 2:].mean(axis=1))

    def learn(self, cycle: Cycle) -> None:
        """Two passes over the memory, this cycle included; then its verdicts become the past."""
        rows = self._inputs(cycle.tests, cycle.day)[cycle.place]
        self._rows = np.vstack([self._rows, rows])[-self._memory :]
        self._labels = np.append(self._labels, cycle.failed)[-self._memory :]
        for _ in range(2):
            self._network.partial_fit(self._rows, self._labels, classes=[0.0, 1.0])
        self._fitted = True
        for place, failed, took in zip(cycle.place, cycle.failed, cycle.duration_ms, strict=True):
            test = int(cycle.tests[place])
            self._verdicts[test] = [float(failed), *self._verdicts.get(test, [])][:4]
            self._seen[test] = (cycle.day, float(np.log(max(took, 1.0))))

    def _inputs(self, tests: Ints, day: float) -> Floats:
        rows = []
        for test in tests.tolist():
            last, took = self._seen.get(test, (day - 30.0, 11.0))
            verdicts = self._verdicts.get(test, [])
            rows.append([took - 11.0, np.log1p(day - last) / 3, *verdicts, *[0.5] * (4 - len(verdicts))])
        return np.array(rows)


class Hasty:
    """The ranker where time is limited: its odds of failure per ``duration ** power``."""

    def __init__(self, power: float = 1.0) -> None:
        self._ranker, self._power = Ranker(), power

    def score(self, tests: Ints, day: float) -> Floats:
        """The ranker's score, less the logarithm of what the test will probably take."""
        took = self._ranker.history.durations(tests)
        return np.asarray(self._ranker.score(tests, day) - self._power * np.log(took))

    def learn(self, cycle: Cycle) -> None:
        """Take in the cycle."""
        self._ranker.learn(cycle)


@dataclass(frozen=True)
class Judged:
    """A policy's result on each cycle in which something failed: its number, NAPFD, and NAPFD where time is limited (a
    row for each seed that broke ties)."""

    cycles: Ints
    whole: Floats
    limited: Floats


def judge(policy: Policy, past: Sequence[Cycle], *, ties: Sequence[int] = (0,), share: float = 0.5) -> Judged:
    """Go through the cycles as time did: each is scored from the ones before it, judged, and then learned.

    ``ties`` are the seeds by which equal scores are ordered where only ``share`` of the time may be spent.
    """
    numbers, whole, limited = [], [], []
    chance = [np.random.default_rng(seed) for seed in ties]
    for cycle in past:
        scores = policy.score(cycle.tests, cycle.day)
        if cycle.failed.any():
            numbers.append(cycle.number)
            whole.append(napfd(cycle, scores))
            limited.append([napfd_within(cycle, scores, share, rng) for rng in chance])
        policy.learn(cycle)
    return Judged(np.array(numbers, dtype=np.int64), np.array(whole), np.array(limited).T)


class Oracle:
    """Knows each test's share of failures in the cycle itself: no order of whole tests does better on average."""

    def __init__(self, past: Sequence[Cycle]) -> None:
        self._past, self._at = past, 0

    def score(self, tests: Ints, day: float) -> Floats:  # noqa: ARG002
        """The shares of the cycle that is next."""
        return self._past[self._at].failures / self._past[self._at].executions

    def learn(self, cycle: Cycle) -> None:  # noqa: ARG002
        """Go on to the next cycle."""
        self._at += 1


POLICIES: dict[str, Callable[[int], Policy]] = {
    "random": lambda _seed: Untaught(),
    "last verdict": lambda _seed: Counting("last"),
    "failure rate": lambda _seed: Counting("rate"),
    "failure rate, smoothed": lambda _seed: Counting("smoothed"),
    "online MLP": Perceptron,
    "online MLP + last 4": lambda seed: Perceptron(seed, blend=1.0),
    "ranker": lambda _seed: Ranker(),
    "ranker per time": lambda _seed: Hasty(),
    "DQN agent": Agent,
}
"""Each policy by name, untaught, for a seed."""
