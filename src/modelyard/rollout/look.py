"""All measurements of one look at a rollout that has a champion, by what its stage is. Pure: nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout import evidence, feedback, shadow
from modelyard.rollout.fast_track import ACCURACY, offered
from modelyard.rollout.loss import LOSS, STAGE, Thresholds, loss_difference
from modelyard.rollout.state import RolloutState

if TYPE_CHECKING:
    import pandas as pd


def measurements(
    state: RolloutState,
    states: Mapping[str, ReplicaState],
    frame: pd.DataFrame,
    now: datetime,
    thresholds: Thresholds,
    trips: Mapping[str, str] = MappingProxyType({}),
) -> list[Measurement]:
    """What replicas and prediction log say at this moment of the stage that the rollout is in.

    ``trips`` are those on record, by replica: also of replicas that are gone.
    """
    entered = state.entered_at or state.opened_at
    of_stage = _in_shadow if state.current.shadow else _in_the_open
    return [
        Measurement(name="seconds_in_stage", value=(now - entered).total_seconds(), unit="s"),
        evidence.trips(states, trips),
        *of_stage(state, states, frame, entered),
        *_loss(state, frame, thresholds),
        *_accuracy(state, frame, thresholds),
        *feedback.measure(state, _by_stage(state, frame)),
    ]


def _in_the_open(
    state: RolloutState, states: Mapping[str, ReplicaState], frame: pd.DataFrame, entered: datetime
) -> list[Measurement]:
    """With all traffic on the challenger, the champion's part is what was recorded of it before."""
    challenger, champion = _answered(frame)
    in_stage = challenger[challenger["served_at"] >= entered]
    return [
        evidence.rows("challenger", in_stage),
        evidence.rows("champion", champion[champion["served_at"] >= entered]),
        evidence.error_rate("challenger", states),
        evidence.error_rate("champion", states),
        evidence.latency_p95("challenger", in_stage, shared_by=sum(not stage.shadow for stage in state.stages)),
        evidence.latency_p95("champion", champion),
    ]


def _in_shadow(
    state: RolloutState, states: Mapping[str, ReplicaState], frame: pd.DataFrame, entered: datetime
) -> list[Measurement]:
    own = _answered(frame)[1]
    in_stage = own[own["served_at"] >= entered]
    mirrored = shadow.mirrored(in_stage)
    return [
        shadow.rows(mirrored, len(in_stage)),
        evidence.rows("champion", in_stage),
        shadow.error_rate(states),
        evidence.error_rate("champion", states),
        shadow.slow_rate(states),
        *(shadow.call_latency(variant, states) for variant in ("challenger", "champion")),
        evidence.latency_p95("champion", own),
        shadow.disagreement(mirrored, state.policy.guardrails.disagreement_above),
    ]


def _answered(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows by who answered. The champion's answers to the challenger's failures say nothing of its own latency."""
    challenger, champion = (frame[frame["variant"] == variant] for variant in ("challenger", "champion"))
    return challenger, champion[champion["error"] == ""]


def _loss(state: RolloutState, frame: pd.DataFrame, thresholds: Thresholds) -> tuple[Measurement, ...]:
    if state.current.shadow and not state.paired:
        why = "the outcome depends on the answer, and the challenger gave none"
        return (Measurement(name=LOSS, value=None, why=why),)
    return loss_difference(_by_stage(state, frame), state.policy.quality, paired=state.paired, thresholds=thresholds)


def _by_stage(state: RolloutState, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with the stage that they were answered in. Unpaired, those of a shadow stage are left out: only rows of a
    time in which both versions answered can be compared."""
    entered = [e for e in state.events if e.kind == "entered"]
    moments = frame["served_at"].to_numpy("datetime64[us]")
    begun = np.array([e.at.replace(tzinfo=None) for e in entered], dtype="datetime64[us]")
    number = np.searchsorted(begun, moments, side="right") - 1
    known = frame.assign(**{STAGE: np.array([e.stage for e in entered] or [0])[np.maximum(number, 0)]})
    if state.paired:
        return known
    shadows = {e.stage for e in entered if state.stages[e.stage].shadow}
    open_to_both: pd.DataFrame = known[(number >= 0) & ~known[STAGE].isin(shadows)]
    return open_to_both


def _accuracy(state: RolloutState, frame: pd.DataFrame, thresholds: Thresholds) -> list[Measurement]:
    """What the fast track asks beside errors and latency."""
    track = state.policy.fast_track
    if track is None or not offered(state):
        return []
    asked = state.policy.quality.model_copy(update={"metric": "accuracy", "min_rows": track.min_rows})
    loss = loss_difference(_by_stage(state, frame), asked, paired=state.paired, thresholds=thresholds)[0]
    if loss.value is None or loss.low is None or loss.high is None:
        return [Measurement(name=ACCURACY, value=None, n=loss.n, why=loss.why or f"{loss.evidence} are too few")]
    turned = {"value": -loss.value, "low": -loss.high, "high": -loss.low, "confidence": loss.confidence}
    return [Measurement.model_validate({"name": ACCURACY, "n": loss.n, **turned})]
