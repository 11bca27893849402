"""Walks one policy through the weeks: what it serves each day, when it retrains, what that costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from modelyard.flows.replay.guard import Guard, Patches
from modelyard.flows.replay.policies import Policy
from modelyard.flows.replay.stream import DAYS, Stream, View


@dataclass(frozen=True, slots=True)
class Walk:
    """One policy on one stream from one start. ``loss`` and ``rows`` are sums by week, from ``start`` on.

    ``refits`` are all that were made, also the ``turned_down``, which were not served; ``backs``: the weeks in which
    the replaced fit was served again.
    """

    start: int
    refits: tuple[int, ...]
    recalibrations: int
    probes: int
    loss: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    turned_down: tuple[int, ...] = ()
    backs: tuple[int, ...] = ()


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


@dataclass
class _Served:
    """What is served, what it replaced, and what became of the refits."""

    stream: Stream
    patches: Patches
    guard: Guard | None
    fit: int
    shift: _Shift
    before: int | None = None
    refits: list[int] = field(default_factory=list)
    turned_down: list[int] = field(default_factory=list)
    backs: list[int] = field(default_factory=list)

    def refit(self, week: int) -> None:
        """Serve the fit of this week, unless the gate turns it down."""
        self.refits.append(week)
        if self.guard and not self.guard.passes(self.stream, self.fit, self.shift.served, week):
            self.turned_down.append(week)
            return
        self._serve(week, before=self.fit)

    def look_back(self, week: int) -> None:
        """Serve again what was replaced, where that would have been better."""
        if not self.guard or self.before is None:
            return
        if self.guard.goes_back(self.stream, self.fit, self.before, self.patches, self.fit, week):
            self.backs.append(week)
            self._serve(self.before, before=None)

    def _serve(self, fit: int, before: int | None) -> None:
        self.fit, self.before, self.shift = fit, before, _Shift(self.stream, self.patches)


def walk(
    stream: Stream,
    probe: Stream,
    policy: Policy,
    *,
    start: int,
    until: int,
    patches: Patches,
    guard: Guard | None = None,
) -> Walk:
    """From a model fitted at the start of week ``start`` to the end of week ``until``.

    A retraining takes effect at once, at the start of the week in which the policy asks, unless the ``guard`` turns it
    down; without a guard every refit is taken. A daily shift is served when it has moved by ``serve_from``, shifts of
    slices are at the start of each week; those that a new model begins with are part of it.
    """
    served, made = _Served(stream, patches, guard, start, _Shift(stream, patches)), 0
    losses, rows = np.zeros(until - start + 1), np.zeros(until - start + 1, dtype=np.int64)
    for week in range(start, until + 1):
        if week > start and policy.wants(View(stream, probe, served.fit, week)):
            served.refit(week)
        elif week > start:
            served.look_back(week)
        for day in range(week * DAYS, week * DAYS + DAYS):
            made += served.shift.move(served.fit, day) and day > served.fit * DAYS
            loss, n = stream.loss(served.fit, day, served.shift.served)
            losses[week - start] += loss
            rows[week - start] += n
    kept = (tuple(weeks) for weeks in (served.refits, served.turned_down, served.backs))
    refits, turned_down, backs = kept
    return Walk(start, refits, made, policy.probes, losses, rows, turned_down, backs)
