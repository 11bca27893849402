"""``policies/rollout.yaml``: stages, what is asked of a release, what the guardrails tolerate."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.config.policies import Policy, load_policy
from modelyard.config.settings import Settings
from modelyard.rollout.guardrails import Guard, GuardLimits

Strategy = Literal["canary", "blue_green", "shadow", "ab_test"]
Metric = Literal["logloss", "brier", "accuracy"]


class Stage(Policy):
    """One step of a rollout. ``weight`` is in percent; ``min_rows`` counts what the challenger answered in the stage.

    With weight 0 the stage is a shadow: the challenger answers nobody and scores the champion's requests, off their
    path; ``min_rows`` counts what it scored. ``error_ratio`` and ``latency_p95_ratio`` are the most that challenger /
    champion may be. Where both versions score the same rows, ``sample`` is the percentage of the requests of which they
    do, drawn at random. With ``quality: false`` the stage does not wait for the loss on labels; clear harm still ends
    it.
    """

    weight: float = Field(ge=0, le=100)
    min_seconds: float = Field(ge=0)
    max_seconds: float = Field(gt=0)
    min_rows: int = Field(ge=1)
    error_ratio: float = Field(ge=1)
    latency_p95_ratio: float = Field(ge=1)
    quality: bool = True
    sample: float = Field(default=100.0, ge=0.01, le=100)

    @property
    def shadow(self) -> bool:
        """Whether the challenger answers nobody."""
        return self.weight == 0

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
    """What is asked of the loss on delayed labels: ``logloss``, ``brier``, or ``accuracy`` (share of wrong answers).

    ``non_inferior``: the confidence sequence of loss(challenger) - loss(champion) lies below ``margin``; ``superior``:
    below zero. Clear harm (all of it above ``margin``) ends the rollout from ``min_rows`` rows on, gross harm (all of
    it above ``gross`` times the margin) from a quarter of them: rows of one afternoon share its weather, and a few
    hundred of them say much about that afternoon and little about the version.

    Rows whose event times lie in one block of ``block_hours`` (counted from ``block_start_hour``, UTC) are taken to
    share what happens in it; the interval rests on the blocks, of which neighbours may correlate by
    ``block_correlation`` (.05 at least: it also covers blocks that grow with the traffic). Before ``min_blocks`` blocks
    there is no interval, and only gross harm, which is judged on rows, decides. Choose blocks that end where the least
    is carried over, and no shorter than what rows share.
    """

    metric: Metric = "logloss"
    ask: Literal["non_inferior", "superior"] = "non_inferior"
    margin: float = Field(gt=0)
    alpha: float = Field(gt=0, lt=0.5)
    min_rows: int = Field(ge=200)
    gross: float = Field(default=5.0, ge=1)
    block_hours: float = Field(default=24.0, ge=1, le=24 * 31)
    block_start_hour: float = Field(default=0.0, ge=0, lt=24)
    block_correlation: float = Field(default=0.1, ge=0.05, le=0.9)
    min_blocks: int = Field(default=7, ge=5)

    @property
    def bound(self) -> float:
        """What the upper end must not exceed."""
        return self.margin if self.ask == "non_inferior" else 0.0


class FeedbackMetric(Policy):
    """What is asked of one number that ``model.yaml`` declares under ``feedback``.

    ``non_inferior``: worse by less than ``margin`` (in the number's own unit); ``superior``: better. Both by a
    confidence sequence of the difference of the means at the one-sided level ``alpha``, which rests on the blocks of
    ``quality``, from ``min_rows`` numbers of each version on. Worse by more than the margin, for certain, ends the
    rollout; before there are blocks enough for an interval, worse by ``quality.gross`` times the margin by rows.
    """

    name: str
    better: Literal["higher", "lower"]
    margin: float = Field(gt=0)
    ask: Literal["non_inferior", "superior"] = "non_inferior"
    alpha: float = Field(default=0.025, gt=0, lt=0.5)
    min_rows: int = Field(default=500, ge=100)


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
    cpu_ms: float = Field(default=5.0, gt=0)
    cpu_ratio: float = Field(default=3.0, ge=1)
    cpu_budget: float = Field(default=0.05, gt=0, lt=1)
    memory_mb: float = Field(default=1024.0, gt=0)
    dry_run: tuple[Guard, ...] = ()

    def limits(self, replicas: int) -> GuardLimits:
        """One replica's limits: the level is split evenly among replicas (Bonferroni), and there among guardrails."""
        given = self.model_dump()
        given["alpha"] = self.alpha / max(replicas, 1)
        return GuardLimits.model_validate(given)


class FastTrack(Policy):
    """When a canary may leave out what lies between a stage and the last one: an exceptionally good challenger.

    From ``from_weight`` percent on, and ``min_rows`` labelled rows, all three must be certain at the level of
    ``quality`` (bounds that hold however often one looks, not point estimates): accuracy higher by ``accuracy``, p95
    latency lower by the share ``latency_p95``, error rate lower by ``error_rate``. The last stage is gone through all
    the same.
    """

    from_weight: float = Field(default=25.0, gt=0, lt=100)
    accuracy: float = Field(default=0.02, ge=0, lt=1)
    latency_p95: float = Field(default=0.05, ge=0, lt=1)
    error_rate: float = Field(default=0.01, ge=0, lt=1)
    min_rows: int = Field(default=1200, ge=200)


class RolloutPolicy(Policy):
    """How a release comes to serve everybody.

    * ``canary``: rising shares up to 100 percent; the first stage may be a shadow.
    * ``blue_green``: a stage of weight 0, in which the new version is loaded, asked and compared everywhere, then one
      of 100, in which the old one is kept loaded.
    * ``shadow``: one stage of weight 0; at its end the challenger is taken off, neither promoted nor quarantined.
    * ``ab_test``: one stage at a share between 0 and 100, until the metric decides; at the deadline a person does.

    For ``keep_warm_hours`` after a promotion every replica keeps the version that it replaced loaded and warm.
    """

    strategy: Strategy = "canary"
    stages: tuple[Stage, ...] = Field(min_length=1)
    fast_track: FastTrack | None = None
    look_every_seconds: float = Field(gt=0)
    on_deadline: Literal["rollback", "ask"] = "rollback"
    keep_warm_hours: float = Field(default=168.0, ge=0, le=8784)
    quality: Quality
    tolerance: Tolerance
    guardrails: GuardPolicy
    feedback: tuple[FeedbackMetric, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len({metric.name for metric in self.feedback}) < len(self.feedback):
            raise ValueError("feedback names a number twice")
        weights = [stage.weight for stage in self.stages]
        for before, after in pairwise(weights):
            if after <= before:
                raise ValueError(f"weights must rise from stage to stage; {after:g} follows {before:g}")
        _SHAPES[self.strategy](self, weights)
        if self.strategy != "shadow" and not self.stages[-1].quality:
            raise ValueError("quality: false is not for the last stage: nothing is promoted without it")
        if self.fast_track is not None:
            self._fast_track_possible(self.fast_track, weights)
        return self

    def _fast_track_possible(self, track: FastTrack, weights: list[float]) -> None:
        if self.strategy != "canary":
            raise ValueError(f"fast_track is for strategy canary; with {self.strategy} there is no stage to leave out")
        if not any(weight >= track.from_weight for weight in weights[:-2]):
            shown = ", ".join(f"{weight:g}" for weight in weights)
            raise ValueError(
                f"fast_track from {track.from_weight:g} percent leaves nothing out of {shown}: "
                "a stage must lie between it and the last one"
            )


def _canary(_: RolloutPolicy, weights: list[float]) -> None:
    if weights[-1] != 100:
        raise ValueError(f"the last stage of a canary must be 100 percent, not {weights[-1]:g}")


def _blue_green(policy: RolloutPolicy, weights: list[float]) -> None:
    if weights != [0, 100]:
        raise ValueError(f"blue_green has two stages, of weight 0 and 100; these are {weights}")
    if policy.stages[0].min_rows < policy.tolerance.min_rows:
        raise ValueError(
            f"min_rows of the first stage ({policy.stages[0].min_rows}) must be at least tolerance.min_rows "
            f"({policy.tolerance.min_rows}): it is the old version's record, with which the new one is compared"
        )


def _shadow(_: RolloutPolicy, weights: list[float]) -> None:
    if weights != [0]:
        raise ValueError(f"shadow has one stage, of weight 0; these are {weights} (a canary may begin with weight 0)")


def _ab_test(policy: RolloutPolicy, weights: list[float]) -> None:
    if len(weights) != 1 or not 0 < weights[0] < 100:
        raise ValueError(f"ab_test has one stage, of a weight between 0 and 100; these are {weights}")
    if policy.on_deadline != "ask":
        raise ValueError("ab_test needs on_deadline: ask: a test that came to nothing is for a person to end")


_SHAPES = {"canary": _canary, "blue_green": _blue_green, "shadow": _shadow, "ab_test": _ab_test}


def load_rollout_policy(settings: Settings, model: str) -> RolloutPolicy:
    """The policy in force for a model. Raises ``ConfigError``."""
    return load_policy(RolloutPolicy, "rollout", settings, model)
