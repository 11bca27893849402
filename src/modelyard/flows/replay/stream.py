"""What a replay knows of one family and seed: each fit's forecasts, what they cost, and how they are recalibrated.

A policy looks through ``View``, which ends at its moment: rows asked about before, outcomes known by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelyard.drift.recalibrate import RecalibrationRule, SliceRule, fit_shift, fit_slices, weights
from modelyard.flows.replay.fits import Fits
from modelyard.flows.replay.history import Floats, Past

DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")

DAYS = 7
"""Of a week."""


@dataclass
class Stream:
    """One family and seed. Days are counted from the past's first day; a week has seven."""

    fits: Fits
    family: str
    seed: int
    rule: RecalibrationRule = field(default_factory=RecalibrationRule)
    slices: SliceRule = field(default_factory=SliceRule)
    _slices: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _shifts: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.logits = lru_cache(maxsize=64)(self._logits)

    @property
    def past(self) -> Past:
        """The rows that are forecast."""
        return self.fits.past

    def _logits(self, fit: int) -> Floats:
        return self.fits.logits(self.family, self.seed, fit).astype(np.float64)

    def rows(self, fit: int, first: int, last: int) -> Floats:
        """The logits of rows ``first`` to ``last`` (excluded) by the fit of a week."""
        begin = self.fits.begin(fit)
        if first < begin:
            raise ValueError(f"row {first} lies before row {begin}, the first that the fit of week {fit} forecasts")
        return self.logits(fit)[first - begin : last - begin]

    def at(self, fit: int, places: npt.NDArray[np.int64]) -> Floats:
        """The logits of these rows by the fit of a week."""
        return self.logits(fit)[places - self.fits.begin(fit)]

    def moved(self, shift: float | Floats, places: npt.NDArray[np.int64]) -> float | Floats:
        """What a recalibration adds to the logits of these rows; by one shift, or by those of slices."""
        return shift if isinstance(shift, float) else shift[self.past.columns[places]].sum(axis=1)

    def loss(self, fit: int, day: int, shift: float | Floats) -> tuple[float, int]:
        """The sum of the logloss over the rows of a day, and their number; by one shift, or by those of slices."""
        first, last = self.day(day), self.day(day + 1)
        moved = self.moved(shift, np.arange(first, last))
        return logloss(self.rows(fit, first, last) + moved, self.past.label[first:last]), last - first

    def day(self, day: int) -> int:
        """The place of the first row of a day."""
        return int(np.searchsorted(self.past.asked, self.past.boundary(0) + day * DAY))

    def known(self, fit: int, now: np.datetime64, days: int, settle_hours: int) -> npt.NDArray[np.int64]:
        """Places of the rows of the last ``days`` whose outcome was known and settled; none that the fit lacks."""
        asked = self.past.asked
        first = max(self.fits.begin(fit), int(np.searchsorted(asked, now - days * DAY)))
        places = np.arange(first, int(np.searchsorted(asked, now - settle_hours * HOUR)))
        return places[self.past.known[places] <= now]

    def shift(self, fit: int, day: int) -> float:
        """The recalibration of a fit as estimated at the start of a day."""
        if (fit, day) not in self._shifts:
            self._shifts[fit, day] = self._fit_shift(fit, day)
        return self._shifts[fit, day]

    def _fit_shift(self, fit: int, day: int) -> float:
        rule, now = self.rule, self.past.boundary(0) + day * DAY
        days = min(rule.lookback_days, day - 7 * fit + rule.lead_days)
        places = self.known(fit, now, days, rule.settle_hours)
        age = (now - self.past.asked[places]) / DAY
        logit = self.at(fit, places)
        before = self._shifts.get((fit, day - 1), 0.0)
        return fit_shift(logit, self.past.label[places], weights(age, rule.half_life_days), rule.prior_rows, before)

    def sliced(self, fit: int, week: int) -> Floats:
        """The recalibration by slices of a fit as estimated at the start of a week, by the past's ``columns``."""
        if (fit, week) not in self._slices:
            self._slices[fit, week] = self._fit_slices(fit, week)
        return self._slices[fit, week]

    def _fit_slices(self, fit: int, week: int) -> Floats:
        rule, now = self.slices, self.past.boundary(week)
        days = min(rule.lookback_days, 7 * (week - fit) + rule.lead_days)
        places = self.known(fit, now, days, rule.settle_hours)
        age = (now - self.past.asked[places]) / DAY
        prior = np.full(int(self.past.columns.max()) + 1, rule.prior_rows)
        prior[0] = rule.shared_prior_rows
        logit, label = self.at(fit, places), self.past.label[places]
        before = self._slices.get((fit, week - 1))
        return fit_slices(logit, self.past.columns[places], label, weights(age, rule.half_life_days), prior, before)


@dataclass(frozen=True)
class View:
    """What a policy may look at, at the start of a week, of the model that was fitted at the start of another."""

    stream: Stream
    probe: Stream
    fit: int
    week: int

    @property
    def now(self) -> datetime:
        """The moment."""
        return self.stream.past.start(self.week)

    def answers(self, days: int = 7, settle_hours: int = 12) -> pd.DataFrame:
        """The champion's answers of the last days with their outcomes as known now, NaN where they are not.

        Columns ``event_time``, ``score``, ``label``, ``known_at``; times are UTC without a zone.
        """
        past, now = self.stream.past, self.stream.past.boundary(self.week)
        first = int(np.searchsorted(past.asked, now - days * DAY))
        first, last = max(first, past.first(self.fit)), int(np.searchsorted(past.asked, now - settle_hours * HOUR))
        score = 1 / (1 + np.exp(-self.stream.rows(self.fit, first, max(first, last))))
        rows = slice(first, max(first, last))
        label = np.where(past.known[rows] <= now, past.label[rows], np.nan)
        return pd.DataFrame(
            {"event_time": past.asked[rows], "score": score, "label": label, "known_at": past.known[rows]}
        )

    def of_training(self) -> pd.DataFrame:
        """The champion's answers on the last four weeks before its training, which it has mostly been fitted on."""
        past, begin, end = self.stream.past, self.stream.fits.begin(self.fit), self.stream.past.first(self.fit)
        known = past.known[begin:end] <= past.boundary(self.fit)
        score = 1 / (1 + np.exp(-self.stream.rows(self.fit, begin, end)))
        frame = pd.DataFrame({"event_time": past.asked[begin:end], "score": score, "label": past.label[begin:end]})
        return frame[known].reset_index(drop=True)

    def gains(self, settle_hours: int = 12) -> list[tuple[int, float, int]]:
        """For each whole week since the training: the week, what a probe fitted at its start gained, on how many rows.

        The gain is the logloss of the probe fitted when the champion was, minus that of the newer one.
        """
        found = []
        for week in range(self.fit + 1, self.week):
            places = self._settled(week, settle_hours)
            old, new = (self.probe.at(f, places) for f in (self.fit, week))
            label = self.stream.past.label[places]
            found.append((week, (logloss(old, label) - logloss(new, label)) / max(len(places), 1), len(places)))
        return found

    def gaps(self, settle_hours: int = 12) -> list[tuple[int, float, int]]:
        """For each whole week since the training: the week, the model's mean answer minus the observed rate, its rows.

        The answers are the model's own, before any recalibration.
        """
        found = []
        for week in range(self.fit, self.week):
            places = self._settled(week, settle_hours)
            score = 1 / (1 + np.exp(-self.stream.at(self.fit, places)))
            gap = (score - self.stream.past.label[places]).sum() / max(len(places), 1)
            found.append((week, float(gap), len(places)))
        return found

    def _settled(self, week: int, settle_hours: int) -> npt.NDArray[np.int64]:
        """Places of the rows of a week whose outcome is known and settled now."""
        past, now = self.stream.past, self.stream.past.boundary(self.week)
        end = min(past.boundary(week + 1), now - settle_hours * HOUR)
        places = np.arange(past.first(week), int(np.searchsorted(past.asked, end)))
        return places[past.known[places] <= now]


def logloss(logit: Floats, label: Floats) -> float:
    """The sum of the logloss."""
    return float((np.logaddexp(0.0, logit) - label * logit).sum())
