"""The governor's policy, read from ``policies/drift.yaml``."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from modelyard.config.policies import Policy
from modelyard.core.digest import digest_json
from modelyard.core.window import Window
from modelyard.drift.bands import Bands


class Windows(Policy):
    """The labelled windows that concept drift is judged on: ``needed`` of ``count`` windows must agree.

    Window ``i`` ends ``settle_hours + i * step_hours`` before the moment of the check. Outcomes need time to settle
    because those that come late differ (a delayed flight lands late): judging at once would find too few bad ones.
    Windows are recomputed at every check from the prediction log, so a check depends on its moment and not on how
    often it ran before.
    """

    length_hours: int = Field(default=168, ge=1)
    settle_hours: int = Field(default=12, ge=0)
    step_hours: int = Field(default=24, ge=1)
    count: int = Field(default=3, ge=1, le=14)
    needed: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.needed > self.count:
            raise ValueError(f"needed = {self.needed} windows of count = {self.count} can never be reached")
        return self

    def before(self, as_of: datetime) -> tuple[Window, ...]:
        """The windows of a check at this moment, newest first."""
        ends = (as_of - timedelta(hours=self.settle_hours + i * self.step_hours) for i in range(self.count))
        return tuple(Window.last(timedelta(hours=self.length_hours), end) for end in ends)


class CalibrationRule(Policy):
    """Retraining is warranted while the absolute calibration gap exceeds ``retrain_above`` and its interval excludes 0.

    Hysteresis: once it has been, the matter is closed only when the gap is at most ``clear_at_most``.
    """

    retrain_above: float = Field(default=0.05, gt=0, lt=1)
    clear_at_most: float = Field(default=0.03, gt=0, lt=1)
    min_labels: int = Field(default=1000, ge=30)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.clear_at_most > self.retrain_above:
            raise ValueError(f"clear_at_most = {self.clear_at_most} lies above retrain_above = {self.retrain_above}")
        return self


class GainRule(Policy):
    """What a retraining would gain, in logloss, estimated once a ``step_hours`` by two fits of a cheap model.

    One is fitted on what the champion was trained on, one on what it would be trained on ``step_hours`` ago; the gain
    is the difference of their losses on the labels that have come since. Retraining is warranted once the gains since
    the champion's training, less an ``allowance`` each, have added up to ``retrain_above`` (Page's cumulative sum):
    then not having retrained has cost as much as a retraining is held to be worth.

    Also, with a ``gap_above``, once the champion's own calibration gaps, one a step, less ``gap_allowance`` each, have
    added up to it on one side: the cheap model cannot see what is wrong with this champion alone.
    """

    step_hours: int = Field(default=168, ge=24)
    allowance: float = Field(default=0.001, ge=0)
    retrain_above: float = Field(default=0.01, gt=0)
    gap_allowance: float = Field(default=0.02, ge=0)
    gap_above: float | None = Field(default=None, gt=0)
    min_labels: int = Field(default=1000, ge=30)


class InputRule(Policy):
    """Drift of inputs and scores. A PSI alone asks for a look, never for a retraining; broken inputs page a person.

    ``shift``: from where on a PSI asks for a look. "held_out": from the features' joint thresholds, learnt from the
    weeks of the reference; ``watch_psi`` for a feature without one. "fixed": from ``watch_psi``. A feature whose
    importance is less than ``least_importance`` of the most important one's (``drift.importance``) drifts without
    a look.
    """

    shift: Literal["held_out", "fixed"] = "held_out"
    watch_psi: float = Field(default=0.2, gt=0)
    page_missing_rise: float = Field(default=0.3, gt=0, le=1)
    page_unseen: float = Field(default=0.2, gt=0, le=1)
    page_invalid: float = Field(default=0.01, gt=0, le=1)
    min_rows: int = Field(default=500, ge=1)
    least_importance: float = Field(default=0.02, ge=0, le=1)
    ignore: tuple[str, ...] = ()


class QualityRule(Policy):
    """Quality beside the baseline (``drift.concept``): a slice is compared from so many labelled rows on."""

    min_slice_labels: int = Field(default=300, ge=30)


class OperationsRule(Policy):
    """Answers of the last ``window_hours`` beside the first week's: how much slower, dearer or worse asks for a look.

    All are relative: ``latency_rise`` 0.15 is 15% above the baseline's 95% quantile; ``error_rise`` is that of the
    share of failed answers, ``resource_rise`` that of processor time per row and of a replica's memory.
    """

    window_hours: int = Field(default=24, ge=3)
    latency_rise: float = Field(default=0.15, gt=0)
    error_rise: float = Field(default=0.10, gt=0)
    resource_rise: float = Field(default=0.20, gt=0)
    min_rows: int = Field(default=500, ge=100)


class UpstreamRule(Policy):
    """What comes in: a relative change of requests per day, and the age of the newest landed row (None: not judged).

    A model whose rows land only when a snapshot is taken has no use for a bound on their age between snapshots.
    """

    volume_change: float = Field(default=0.5, gt=0)
    landing_hours: int | None = Field(default=None, ge=1)


class Silence(Policy):
    """After how long no request, or requests without any label, is an incident."""

    traffic_hours: int = Field(default=24, ge=1)
    label_hours: int = Field(default=48, ge=1)


class Restraint(Policy):
    """What keeps retraining rare: a pause after each, and a budget."""

    cooldown_hours: int = Field(default=168, ge=0)
    budget: int = Field(default=4, ge=1)
    budget_days: int = Field(default=30, ge=1)


class DriftPolicy(Policy):
    """Everything the governor decides by.

    ``retrain_on`` says whose failing asks for a retraining: the calibration gap; the estimated gain (which falls back
    on the gap while there is no estimate); or the fixed bands of the trade, which also say how soon. ``dry_run`` names
    other policies by what they change in this one: at each check they say what they would have done, which is recorded
    and has no effect; they are no part of the digest.
    """

    retrain_on: Literal["calibration", "gain", "bands"] = "calibration"
    windows: Windows = Windows()
    gain: GainRule = GainRule()
    calibration: CalibrationRule = CalibrationRule()
    inputs: InputRule = InputRule()
    quality: QualityRule = QualityRule()
    bands: Bands = Bands()
    operations: OperationsRule = OperationsRule()
    upstream: UpstreamRule = UpstreamRule()
    silence: Silence = Silence()
    restraint: Restraint = Restraint()
    report_rows: int = Field(default=5000, ge=100, le=100_000)
    dry_run: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _dry_runs_hold(self) -> Self:
        """A dry run that could never be in force is refused at load, not found out on the day it is put in force."""
        policies: tuple[DriftPolicy, ...] = (self, *self.beside.values())
        asking = {p.gain.step_hours for p in policies if p.retrain_on == "gain"}
        if len(asking) > 1:
            raise ValueError(
                f"gains are measured once, in steps of one length: step_hours = {sorted(asking)} cannot be"
            )
        return self

    @property
    def digest(self) -> str:
        """The digest that decisions cite."""
        return digest_json(self.model_dump(mode="json", exclude={"dry_run"}))

    @cached_property
    def beside(self) -> dict[str, DriftPolicy]:
        """The policies that are tried beside this one, by name."""
        own = self.model_dump(mode="json", exclude={"dry_run"})
        return {name: DriftPolicy.model_validate(_over(own, changes)) for name, changes in self.dry_run.items()}

    @property
    def gain_wanted(self) -> GainRule | None:
        """By which rule the gain is estimated: the one in force, or the first tried beside it; None: nobody asks."""
        asking = (p.gain for p in (self, *self.beside.values()) if p.retrain_on == "gain")
        return next(asking, None)


def _over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The changes over the base, mappings key by key."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged
