"""A cycle as an environment for an agent, in the manner of `gymnasium.Env`: one step decides on one test.

Written against gymnasium's interface (reset and step, five results) without needing it: it is no dependency of ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .cycles import Cycle, Floats
from .ranker import pair_weights

LATER, EARLY = 0, 1
"""The actions: run the shown test late, or early."""


class OrderingTests:
    """An episode is one cycle that has ended, replayed: its tests are shown one after the other, in a random order.

    An observation is the features of the test that is shown, less their mean in the cycle, and the features' means. The
    reward of EARLY is what the test's failures weigh less what its passes weigh, as in the ranker, times the number of
    tests, so that steps in long and in short cycles earn alike; LATER earns the opposite.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(0)
        self._shown = np.zeros((1, 2 * size))
        self._gain = np.zeros(1)
        self._order = np.zeros(1, dtype=np.int64)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Begin the cycle of ``options``: its ``cycle``, and the ``features`` that were known before it."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        if options:
            cycle: Cycle = options["cycle"]
            self._shown = observations(options["features"])
            failed, passed = pair_weights(cycle)
            self._gain = (failed - passed) * len(cycle.tests)
        self._order = self._rng.permutation(len(self._gain))
        self._step = 0
        return self._now(), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Decide on the test that is shown: the next one, the reward, whether the cycle is over, and False.

        Raises:
            ValueError: the action is neither LATER nor EARLY, or the cycle is over.
        """
        if action not in (LATER, EARLY):
            raise ValueError(f"action {action}; it must be {LATER} (later) or {EARLY} (early)")
        if self._step >= len(self._order):
            raise ValueError("the cycle is over; reset() begins the next")
        gain = float(self._gain[self._order[self._step]])
        self._step += 1
        return self._now(), gain if action == EARLY else -gain, self._step == len(self._order), False, {}

    def _now(self) -> Floats:
        # After the last test it stays in view: an observation is always one of a test.
        place = min(self._step, len(self._order) - 1)
        return self._shown[self._order[place]].copy()


def observations(features: Floats) -> Floats:
    """What an agent sees of each test: its features less their mean in the cycle, and the means."""
    mean = features.mean(axis=0)
    return np.column_stack([features - mean, np.broadcast_to(mean, features.shape)])
