"""``policies/rollout.yaml``: stages, what is asked of a release, what the guardrails tolerate."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.config.policies import Policy, load_policy
from modelyard.config.settings import Settings
from modelyard.rollout.guardrails import GUARDS, Guard, GuardLimits


class Stage(Policy):
    """One step of the ramp. ``weight`` is in percent; ``min_rows`` counts what the challenger answered in the stage.

    ``error_ratio`` and ``latency_p95_ratio`` are the most that challenger / champion may be.
    """

    weight: float = Field(gt=0, le=100)
    min_seconds: float = Field(ge=0)
    max_seconds: float = Field(gt=0)
    min_rows: int = Field(ge=1)
    error_ratio: float = Field(ge=1)
    latency_p95_ratio: float = Field(ge=1)

    @property
    def basis_points(self) -> int:
        """The weight as the gateway takes it."""
        return round(self.weight * 100)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.max_seconds <= self.min_seconds:
            raise ValueError(f"max_seconds ({self.max_seconds:g}) must exceed min_seconds ({self.min_seconds:g})")
        return self


class Quality(Policy):
    """What is asked of the loss on delayed labels.

    ``non_inferior``: the confidence sequence of loss(challenger) - loss(champion) lies below ``margin``; ``superior``:
    below zero. Clear harm (all of it above ``margin``) ends the rollout from ``min_rows`` rows on, gross harm (all of
    it above ``gross`` times the margin) from a quarter of them: rows of one afternoon share its weather, and a few
    hundred of them say much about that afternoon and little about the version.
    """

    metric: Literal["logloss"] = "logloss"
    ask: Literal["non_inferior", "superior"] = "non_inferior"
    margin: float = Field(gt=0)
    alpha: float = Field(gt=0, lt=0.5)
    min_rows: int = Field(ge=200)
    gross: float = Field(default=5.0, ge=1)

    @property
    def bound(self) -> float:
        """What the upper end must not exceed."""
        return self.margin if self.ask == "non_inferior" else 0.0


class Tolerance(Policy):
    """Ratios are judged only above these: two versions of a thousandth of a second differ by chance.

    A challenger's error rate is compared with the champion's or ``error_rate``, whichever is larger; its p95 latency
    only counts once it exceeds ``latency_p95_ms``; neither before ``min_rows`` rows.
    """

    error_rate: float = Field(gt=0, lt=1)
    latency_p95_ms: float = Field(gt=0)
    min_rows: int = Field(ge=1)


class GuardPolicy(Policy):
    """See ``guardrails.GuardLimits``; ``alpha`` is the level of the whole rollout."""

    alpha: float = Field(gt=0, lt=1)
    error_budget: float = Field(gt=0, lt=1)
    timeout_ms: float = Field(gt=0)
    latency_slo_ms: float = Field(gt=0)
    latency_budget: float = Field(gt=0, lt=1)
    invalid_budget: float = Field(gt=0, lt=1)
    disagreement_above: float = Field(gt=0, lt=1)
    disagreement_budget: float = Field(gt=0, lt=1)
    dry_run: tuple[Guard, ...] = ()

    def limits(self, replicas: int) -> GuardLimits:
        """One replica's limits: the level is split evenly among guardrails and replicas (Bonferroni)."""
        given = self.model_dump()
        given["alpha"] = self.alpha / (len(GUARDS) * max(replicas, 1))
        return GuardLimits.model_validate(given)


class RolloutPolicy(Policy):
    """How a release comes to serve everybody."""

    strategy: Literal["canary"] = "canary"
    stages: tuple[Stage, ...] = Field(min_length=1)
    look_every_seconds: float = Field(gt=0)
    on_deadline: Literal["rollback", "ask"] = "rollback"
    quality: Quality
    tolerance: Tolerance
    guardrails: GuardPolicy

    @model_validator(mode="after")
    def _ramp(self) -> Self:
        weights = [stage.weight for stage in self.stages]
        for before, after in pairwise(weights):
            if after <= before:
                raise ValueError(f"weights must rise from stage to stage; {after:g} follows {before:g}")
        if weights[-1] != 100:
            raise ValueError(f"the last stage must be 100 percent, not {weights[-1]:g}")
        return self


def load_rollout_policy(settings: Settings, model: str) -> RolloutPolicy:
    """The policy in force for a model. Raises ``ConfigError``."""
    return load_policy(RolloutPolicy, "rollout", settings, model)
