"""What stands between a refit and what is served: the gate before it, and the way back after it.

The gate is the platform's own (``logloss_not_worse`` of ``policies/gates.yaml``): a new fit is compared with what is
served on the days that it was not fitted on. The way back compares the two again once the new one has served; the
version that it replaced stays for that as a shadow, recalibrated in the same manner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard.flows.replay.stream import DAYS, Stream, logloss

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

Patches = Literal["none", "shift", "slices"]
"""How a model is recalibrated between its refits: not at all, by one shift each day, by slices each week."""

HOLD_OUT = ("network",)
"""Families whose fit holds the evaluation days out. Others fit on all rows: of these the fit of a week ago is asked."""


@dataclass(frozen=True, slots=True)
class Guard:
    """``worse_by``: what a new fit may lose, in logloss, on its last ``days``, which it holds out, to what is served.

    ``back_from``: by how much the fit that was replaced must be the better one, over the weeks since, at most
    ``back_weeks``, for it to be served again. It is then the only one that is kept.
    """

    days: int
    worse_by: float
    back_from: float = 0.005
    back_weeks: int = 4
    settle_hours: int = 12

    def passes(self, stream: Stream, served: int, shift: float | Floats, week: int) -> bool:
        """Whether the fit of ``week`` may replace the one that is served, with the shift that it is served with."""
        holds = stream.family in HOLD_OUT
        asked = week if holds else week - 1
        if asked <= served:
            return True
        places = stream.known(asked, stream.past.boundary(week), self.days if holds else DAYS, self.settle_hours)
        label = stream.past.label[places]
        own = logloss(stream.at(served, places) + stream.moved(shift, places), label)
        return logloss(stream.at(asked, places), label) - own <= self.worse_by * len(places)

    def goes_back(self, stream: Stream, served: int, before: int, patches: Patches, since: int, week: int) -> bool:
        """Whether the fit ``before`` would have done better by now than the one that is served since week ``since``."""
        lost = rows = 0.0
        for past_week in range(max(since, week - self.back_weeks), week):
            days = DAYS * (week - past_week)
            known = stream.known(served, stream.past.boundary(week), days, self.settle_hours)
            places = known[known < stream.past.first(past_week + 1)]
            label = stream.past.label[places]
            lost += logloss(patched(stream, served, patches, past_week, places), label)
            lost -= logloss(patched(stream, before, patches, past_week, places), label)
            rows += len(places)
        return lost > self.back_from * rows


def patched(stream: Stream, fit: int, patches: Patches, week: int, places: Places) -> Floats:
    """The logits of rows of a week as the fit would have answered them, recalibrated as it was then."""
    logits = stream.at(fit, places)
    if patches == "none":
        return logits
    if patches == "slices":
        return np.asarray(logits + stream.moved(stream.sliced(fit, week), places))
    days = ((stream.past.asked[places] - stream.past.boundary(0)) / np.timedelta64(1, "D")).astype(np.int64)
    return np.asarray(logits + np.array([stream.shift(fit, int(day)) for day in days]))
