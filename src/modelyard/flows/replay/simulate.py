"""Walks one policy through the weeks: what it serves each day, when it retrains, what that costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelyard.flows.replay.policies import Policy
from modelyard.flows.replay.stream import Stream, View

DAYS = 7


@dataclass(frozen=True, slots=True)
class Walk:
    """One policy on one stream from one start. ``loss`` and ``rows`` are sums by week, from ``start`` on."""

    start: int
    refits: tuple[int, ...]
    recalibrations: int
    probes: int
    loss: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]


def walk(stream: Stream, probe: Stream, policy: Policy, *, start: int, until: int, recalibrated: bool) -> Walk:
    """From a model fitted at the start of week ``start`` to the end of week ``until``.

    A retraining takes effect at once, at the start of the week in which the policy asks. With ``recalibrated`` the
    shift is estimated each day, and served when it has moved by ``serve_from``; that of a new model is part of it.
    """
    fit, shift, patches = start, 0.0, 0
    refits: list[int] = []
    losses, rows = np.zeros(until - start + 1), np.zeros(until - start + 1, dtype=np.int64)
    for week in range(start, until + 1):
        if week > start and policy.wants(View(stream, probe, fit, week)):
            fit, shift = week, 0.0
            refits.append(week)
        for day in range(week * DAYS, week * DAYS + DAYS):
            if recalibrated and abs((new := stream.shift(fit, day)) - shift) >= stream.rule.serve_from:
                shift = new
                patches += day > fit * DAYS
            loss, n = stream.loss(fit, day, shift)
            losses[week - start] += loss
            rows[week - start] += n
    return Walk(start, tuple(refits), patches, policy.probes, losses, rows)
