"""Real flights as streams with known answers: whole weeks of them, drawn at random, and what is planted in those.

Stable streams are weeks 2 to 13 of 2013 in a random order, with replacement: whatever rows of one day and of one week
have in common, they keep, and no week differs from another but by chance. ``seasonal`` draws the weeks from the onset
on from weeks 18 to 35: other schedules, other weather. Of each day ``Plan.rows`` flights are drawn, in the order of
departure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from _streams import UNRELATED, WEEK, Columns, Family, Plan, strength, unrelated
from numpy.typing import NDArray

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.window import Window
from modelyard.data.source import read_source

MODEL = "flight_delay"
BEFORE, AFTER = range(2, 14), range(18, 36)
NAUTICAL = 0.868976
_DAY_BEGINS = timedelta(hours=8)  # flights of a local day leave before 08:00 UTC of the next

Pick = Callable[[np.random.Generator, pd.DataFrame, float, str, Plan], Columns]
Days = dict[int, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Flights:
    """Flights by day of the year; ``pick`` makes columns of one day's rows, given how much of the drift there is."""

    days: Days
    pick: Pick

    def draw(self, random: np.random.Generator, days: int, drift: str, plan: Plan) -> Columns:
        """One stream."""
        much, found = strength("abrupt" if drift not in {"stable", "gradual"} else drift, days, plan), []
        for day in range(days):
            if day % WEEK == 0:
                pool = AFTER if drift == "seasonal" and day >= plan.onset else BEFORE
                week = int(random.choice(pool))
            rows = self.days[week * WEEK + day % WEEK]
            found.append(self.pick(random, rows, float(much[day]), drift, plan))
        columns = {name: np.stack([day[name] for day in found]) for name in found[0]}
        return _scored(columns, random, drift, plan) if "label" in columns else columns


def _distances(random: np.random.Generator, rows: pd.DataFrame, much: float, drift: str, plan: Plan) -> Columns:
    """``distance``; planted: half of the flights from LGA are gone, or distances come in nautical miles."""
    if drift in {"abrupt", "gradual"}:
        gone = (rows["origin"] == "LGA").to_numpy() & (random.random(len(rows)) < 0.5 * much)
        rows = rows[~gone]
    value = rows["distance"].to_numpy()[_some(random, len(rows), plan.rows)]
    return {"value": value * (NAUTICAL if drift == "unit" and much else 1.0)}


def _labels(random: np.random.Generator, rows: pd.DataFrame, much: float, drift: str, plan: Plan) -> Columns:
    """Label and hour; planted: a tenth of the flights in time are late."""
    chosen = _some(random, len(rows), plan.rows)
    label = rows["delayed"].to_numpy()[chosen]
    if drift in {"abrupt", "gradual"}:
        label = np.where(random.random(len(label)) < 0.1 * much, 1.0, label)
    return {"label": label, "hour": rows["hour"].to_numpy(dtype=np.float64)[chosen]}


def _scored(columns: Columns, random: np.random.Generator, drift: str, plan: Plan) -> Columns:
    """The scores of a model that knows the hour alone: the reference's rate of delay at it, shrunk a little."""
    hour, label = columns["hour"].astype(int), columns["label"]
    known = slice(0, plan.reference)
    flights = np.bincount(hour[known].ravel(), minlength=24)
    late = np.bincount(hour[known].ravel(), weights=label[known].ravel(), minlength=24)
    overall = late.sum() / flights.sum()
    rate = (late + 50 * overall) / (flights + 50)
    return {"score": rate[hour], "label": unrelated(random, label, plan) if drift == UNRELATED else label}


def _some(random: np.random.Generator, n: int, wanted: int) -> NDArray[np.int64]:
    """Places of ``wanted`` rows of ``n``, in their order; all of them and some twice where there are fewer."""
    return np.sort(random.choice(n, wanted, replace=n < wanted))


def _days() -> Days:
    start = datetime(2013, 1, 1, tzinfo=UTC) + _DAY_BEGINS
    window = Window(start=start, end=start + timedelta(days=WEEK * AFTER.stop))
    rows = read_source(load_project(MODEL, Settings.from_env()), window)
    rows = rows.loc[rows["delayed"].notna(), ["event_time", "origin", "distance", "hour", "delayed"]]
    day = (rows["event_time"] - pd.Timestamp(start)).dt.days
    return {int(number): part for number, part in rows.groupby(day, sort=True)}


def families() -> tuple[Family, Family]:
    """The streams of distances, and those of labels."""
    days, summer = _days(), "weeks 18-35 instead of 2-13"
    inputs = {
        "abrupt": "half of the flights from LGA gone",
        "gradual": "the same within three weeks",
        "seasonal": summer,
        "unit": "distances in nautical miles",
    }
    answers = {
        "abrupt": "a tenth of the flights in time late",
        "gradual": "the same within three weeks",
        "seasonal": summer,
        UNRELATED: "half of the labels shuffled within their day",
    }
    return (
        Family("flights", "inputs", inputs, Flights(days, _distances).draw),
        Family("flights", "answers", answers, Flights(days, _labels).draw),
    )
