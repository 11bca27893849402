"""Streams with known answers: what their rows look like, when drift begins, and of which kind it is.

A stream is days of as many rows each. Its first days are the reference; a week later, at ``Plan.onset``, the drift
that was asked for begins, or none. ``strength`` says how much of it is there on each day: all at once (abrupt),
more each day for three weeks (gradual), or half a year's wave that comes and goes within four weeks (seasonal).

Inputs have a column ``value``; answers have ``score``, a probability that is right on average before the drift, and
``label``. Real flights make both kinds, too: see ``_flight_days``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Columns = dict[str, Floats]
"""Columns ``[days, rows]`` of one stream, or ``[streams, days, rows]`` of many."""

WEEK = 7
WEEKDAYS = np.array([0.0, 0.2, 0.4, 0.6, 0.2, -0.6, -0.8])


@dataclass(frozen=True, slots=True)
class Plan:
    """How long streams are, in days, and how many there are: ``streams`` to calibrate on, as many to be judged on."""

    rows: int = 50
    reference: int = 63
    stable: int = 70
    horizon: int = 28
    gradual: int = 21
    streams: int = 30

    @property
    def onset(self) -> int:
        """The day on which drift begins, and from which on alarms are counted."""
        return self.reference + WEEK


def strength(ramp: str, days: int, plan: Plan) -> Floats:
    """How much of the drift is there on each day: 0 before the onset.

    Raises:
        ValueError: there is no such ramp.
    """
    after = np.arange(days) - plan.onset
    if ramp == "stable":
        return np.zeros(days)
    if ramp == "abrupt":
        return (after >= 0).astype(np.float64)
    if ramp == "gradual":
        return np.clip((after + 1) / plan.gradual, 0, 1)
    if ramp == "seasonal":
        return np.where(after >= 0, np.sin(np.pi * (after + 0.5) / plan.horizon), 0.0).clip(min=0)
    raise ValueError(f"no ramp {ramp!r}: there are stable, abrupt, gradual, seasonal")


def autoregressive(random: np.random.Generator, days: int, correlation: float, deviation: float) -> Floats:
    """A stationary AR(1) series: what the days have in common with their neighbours."""
    found = np.empty(days)
    found[0] = random.normal(0, deviation)
    for day in range(1, days):
        found[day] = correlation * found[day - 1] + random.normal(0, deviation * np.sqrt(1 - correlation**2))
    return found


Draw = Callable[[np.random.Generator, int, str, Plan], Columns]
"""``(random, days, drift, plan)``: one stream; ``drift`` is a key of the family's ``drifts`` or ``stable``."""


@dataclass(frozen=True, slots=True)
class Family:
    """Streams of one kind: what may drift in them, told by name, and how one is drawn."""

    name: str
    kind: str
    drifts: Mapping[str, str]
    draw: Draw

    def many(self, drift: str, role: int, plan: Plan, seed: int) -> Columns:
        """``plan.streams`` streams, settled by the seed, the family, the drift and the role."""
        days = plan.onset + (plan.stable if drift == "stable" else plan.horizon)
        key = [seed, role, *self.name.encode(), *drift.encode()]
        randoms = [np.random.default_rng(child) for child in np.random.SeedSequence(key).spawn(plan.streams)]
        drawn = [self.draw(random, days, drift, plan) for random in randoms]
        return {name: np.stack([columns[name] for columns in drawn]) for name in drawn[0]}


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal rows around a level of the day: neighbouring days alike (``deviation``), or weekdays (``season``)."""

    size: float
    spread: float = 1.25
    correlation: float = 0.0
    deviation: float = 0.0
    season: float = 0.0

    def draw(self, random: np.random.Generator, days: int, drift: str, plan: Plan) -> Columns:
        """One stream."""
        level = self.season * WEEKDAYS[np.arange(days) % WEEK]
        if self.deviation:
            level = level + autoregressive(random, days, self.correlation, self.deviation)
        noise = random.normal(size=(days, plan.rows))
        if drift == "wider":
            noise *= (1 + (self.spread - 1) * strength("abrupt", days, plan))[:, None]
        elif drift == "weekend moves":
            moved = self.season * WEEKDAYS[(np.arange(days) + 3) % WEEK]
            level = np.where(strength("abrupt", days, plan) > 0, moved, level)
        else:
            level = level + self.size * strength(drift, days, plan)
        return {"value": level[:, None] + noise}


@dataclass(frozen=True, slots=True)
class Answers:
    """Labels of a known model, and its scores; ``deviation`` is that of a day's own log odds, which no model knows."""

    size: float
    correlation: float = 0.0
    deviation: float = 0.0

    def draw(self, random: np.random.Generator, days: int, drift: str, plan: Plan) -> Columns:
        """One stream."""
        known = -1.2 + random.normal(size=(days, plan.rows))
        shared = autoregressive(random, days, self.correlation, self.deviation) if self.deviation else np.zeros(days)
        moved = 0.0 if drift == UNRELATED else self.size * strength(drift, days, plan)
        label = (random.random(known.shape) < sigmoid(known + (shared + moved)[:, None])).astype(np.float64)
        if drift == UNRELATED:
            label = unrelated(random, label, plan)
        # Averaged over what days may be like (Gauss-Hermite): right on average, as a fitted model would be.
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        score = sum(
            w * sigmoid(known + self.deviation * x) for x, w in zip(nodes, weights / weights.sum(), strict=True)
        )
        return {"score": np.asarray(score), "label": label}


UNRELATED = "unrelated"


def unrelated(random: np.random.Generator, label: Floats, plan: Plan) -> Floats:
    """From the onset on, half of each day's labels in another order: the rate stays, the scores know less of them."""
    label = label.copy()
    for day in range(plan.onset, len(label)):
        chosen = random.permutation(label.shape[1])[: label.shape[1] // 2]
        label[day, chosen] = random.permutation(label[day, chosen])
    return label


def sigmoid(x: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))


def _moves(what: str, size: str) -> dict[str, str]:
    return {
        "abrupt": f"{what} {size}",
        "gradual": f"{what} {size} within three weeks",
        "seasonal": f"{what} up to {size} and back within four weeks",
    }


INPUTS = (
    Family("independent", "inputs", _moves("mean", "+0.3 sd") | {"wider": "spread x 1.25"}, Normal(0.3).draw),
    Family(
        "days alike",
        "inputs",
        _moves("mean", "+0.8 sd") | {"wider": "spread x 1.25"},
        Normal(0.8, correlation=0.6, deviation=0.3).draw,
    ),
    Family(
        "weekdays",
        "inputs",
        _moves("mean", "+0.3 sd") | {"weekend moves": "the same week, begun three days later"},
        Normal(0.3, season=1.0).draw,
    ),
)

_MIXED = {UNRELATED: "half of the labels shuffled within their day"}

ANSWERS = (
    Family("independent", "answers", _moves("log odds", "+0.4") | _MIXED, Answers(0.4).draw),
    Family(
        "days alike", "answers", _moves("log odds", "+0.8") | _MIXED, Answers(0.8, correlation=0.5, deviation=0.6).draw
    ),
)

__all__ = ["ANSWERS", "INPUTS", "UNRELATED", "WEEK", "Columns", "Family", "Plan", "sigmoid", "strength"]
