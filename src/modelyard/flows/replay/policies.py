"""The policies that a replay compares: when each retrains. Each is asked at the start of every week.

What the simple ones compare with is fixed here and was not tuned; the governor decides by ``policies/drift.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import pandas as pd

from modelyard.core.digest import digest_json
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.cusum import two_sided
from modelyard.drift.gain import GAIN_MEASURED, GAP_MEASURED
from modelyard.drift.governor import History, Past, Signals, decide
from modelyard.drift.policy import DriftPolicy
from modelyard.drift.quality import measure_quality
from modelyard.flows.replay.psi import Distances
from modelyard.flows.replay.stream import View
from modelyard.stats.ranking import auc

WEEK = 7


class Policy(Protocol):
    """Decides at the start of a week whether to retrain now."""

    @property
    def probes(self) -> int:
        """How many estimates of the gain it has asked for."""

    def wants(self, view: View) -> bool:
        """Whether to retrain on what can be seen."""


@dataclass
class Calendar:
    """Every so many weeks; None: never."""

    weeks: int | None
    probes: int = 0

    def wants(self, view: View) -> bool:
        """Whether the time has come."""
        return self.weeks is not None and view.week - view.fit >= self.weeks


@dataclass
class NaivePsi:
    """When any feature of the last week has a PSI above the bound against the rows that the model was fitted on."""

    distances: Distances
    bound: float = 0.2
    probes: int = 0

    def wants(self, view: View) -> bool:
        """Whether any feature has drifted."""
        return self.distances.highest(view.fit, view.week - 1) > self.bound


@dataclass
class AucDrop:
    """When the AUC of the last week's answers is lower, by this share, than on the last four weeks before training."""

    share: float = 0.05
    probes: int = 0

    def wants(self, view: View) -> bool:
        """Whether the ranking has got worse."""
        now, then = _auc(view.answers()), _auc(view.of_training())
        return now < then * (1 - self.share)


@dataclass
class CalibrationGap:
    """When last week's mean prediction is further than the bound from the observed rate."""

    bound: float = 0.05
    probes: int = 0

    def wants(self, view: View) -> bool:
        """Whether the gap is beyond the bound."""
        return abs(_gap(view.answers())) > self.bound


@dataclass
class GapCusum:
    """When the weekly calibration gaps since the training add up: k = 0.5, h = 2 standard deviations of a week.

    The deviation is that of the days before the training, divided by the root of seven.
    """

    allowance: float = 0.5
    bound: float = 2.0
    probes: int = 0

    def wants(self, view: View) -> bool:
        """Whether the larger of the two sums is beyond the bound."""
        before = view.of_training()
        daily = (before["score"] - before["label"]).groupby(before["event_time"].dt.floor("D")).mean()
        sigma = float(daily.std()) / np.sqrt(WEEK)
        rows = view.answers(days=WEEK * (view.week - view.fit)).dropna()
        week = (rows["event_time"] - rows["event_time"].min().floor("D")).dt.days // WEEK
        gaps = (rows["score"] - rows["label"]).groupby(week).mean()
        return two_sided([float(g) / sigma for g in gaps], self.allowance)[-1] > self.bound


@dataclass
class Governor:
    """The platform's own rule, ``drift.governor.decide``, on what the hourly check would have measured.

    Inputs are left out: nothing is broken upstream in a replay, and a PSI never retrains. ``asked`` keeps this run's
    retrainings for cool-down and budget.
    """

    policy: DriftPolicy
    probes: int = 0
    asked: list[Past] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def wants(self, view: View) -> bool:
        """Whether the governor says "retrain"."""
        champion = digest_json([view.stream.family, view.stream.seed, view.fit])
        signals = self._signals(view, champion)
        decision = decide(signals, History(past=tuple(self.asked)), self.policy, view.now)
        if decision.action == "retrain":
            self.asked.append(Past(at=view.now, action="retrain", champion=champion))
        return decision.action == "retrain"

    def _signals(self, view: View, champion: str) -> Signals:
        windows = self.policy.windows.before(view.now)
        days = (view.now - windows[-1].start).days + 1
        answers = view.answers(days=days, settle_hours=0)
        known = answers["known_at"][answers["label"].notna()]
        threshold = self.policy.calibration.min_labels
        quality = [m for w in windows for m in measure_quality(_within(answers, w), window=w, min_labels=threshold)]
        return Signals(
            model=view.stream.past.project.name,
            champion=champion,
            as_of=view.now,
            trained_until=view.stream.past.start(view.fit),
            newest=_moment(answers["event_time"]),
            newest_label=_moment(known),
            requests=len(answers),
            quality=tuple(quality),
            gains=self._gains(view),
        )

    def _gains(self, view: View) -> tuple[Measurement, ...]:
        if self.policy.retrain_on != "gain":
            return ()
        settle = self.policy.windows.settle_hours
        found = view.gains(settle)
        new = {(view.fit, week) for week, _, _ in found} - self._seen
        self._seen |= new
        self.probes += len(new)
        gaps = () if self.policy.gain.gap_above is None else _by_week(view, GAP_MEASURED, view.gaps(settle))
        return (*gaps, *_by_week(view, GAIN_MEASURED, found))


def _by_week(view: View, name: str, found: list[tuple[int, float, int]]) -> tuple[Measurement, ...]:
    """Measurements of weeks: each with its value, and the rows that it was measured on."""
    past = view.stream.past
    windows = (Window(start=past.start(week), end=past.start(week + 1)) for week, _, _ in found)
    return tuple(
        Measurement(name=name, value=value, n=n, window=window)
        for window, (_, value, n) in zip(windows, found, strict=True)
    )


def _within(rows: pd.DataFrame, window: Window) -> pd.DataFrame:
    start, end = (np.datetime64(m.replace(tzinfo=None), "us") for m in (window.start, window.end))
    return rows[(rows["event_time"] >= start) & (rows["event_time"] < end)]


def _moment(column: pd.Series[Any]) -> datetime | None:
    return column.max().tz_localize("UTC").to_pydatetime() if len(column) else None


def _gap(answers: pd.DataFrame) -> float:
    labelled = answers.dropna()
    return float((labelled["score"] - labelled["label"]).mean())


def _auc(answers: pd.DataFrame) -> float:
    labelled = answers.dropna()
    return auc(labelled["label"].to_numpy(), labelled["score"].to_numpy()).value
