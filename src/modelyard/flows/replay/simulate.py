"""Walks one policy through the weeks: what it serves each day, when it retrains, what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard.flows.replay.policies import Policy
from modelyard.flows.replay.stream import Stream, View

DAYS = 7

Patches = Literal["none", "shift", "slices"]
"""How a model is recalibrated between its refits: not at all, by one shift each day, by slices each week."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One policy on one stream from one start. ``loss`` and ``rows`` are sums by week, from ``start`` on."""

    start: int
    refits: tuple[int, ...]
    recalibrations: int
    probes: int
    loss: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]


@dataclass
class _Shift:
    """What is added to a fit's logits."""

    stream: Stream
    patches: Patches
    served: float | npt.NDArray[np.float64] = 0.0

    def move(self, fit: int, day: int) -> bool:
        """Take what is to be served from this day on; whether it is another than before."""
        if self.patches == "slices" and day % DAYS == 0:
            self.served = self.stream.sliced(fit, day // DAYS)
            return True
        if self.patches != "shift" or not isinstance(self.served, float):
            return False
        new = self.stream.shift(fit, day)
        moved = abs(new - self.served) >= self.stream.rule.serve_from
        self.served = new if moved else self.served
        return moved


def walk(stream: Stream, probe: Stream, policy: Policy, *, start: int, until: int, patches: Patches) -> Walk:
    """From a model fitted at the start of week ``start`` to the end of week ``until``.

    A retraining takes effect at once, at the start of the week in which the policy asks. A daily
    shift is served when it has moved by ``serve_from``, shifts of slices are at the start of each week; those that a
    new model begins with are part of it.
    """
    fit, shift, made = start, _Shift(stream, patches), 0
    refits: list[int] = []
    losses, rows = np.zeros(until - start + 1), np.zeros(until - start + 1, dtype=np.int64)
    for week in range(start, until + 1):
        if week > start and policy.wants(View(stream, probe, fit, week)):
            fit, shift = week, _Shift(stream, patches)
            refits.append(week)
        for day in range(week * DAYS, week * DAYS + DAYS):
            made += shift.move(fit, day) and day > fit * DAYS
            loss, n = stream.loss(fit, day, shift.served)
            losses[week - start] += loss
            rows[week - start] += n
    return Walk(start, tuple(refits), made, policy.probes, losses, rows)
