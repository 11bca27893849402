"""All measurements of one look at a rollout that has a champion, by what its stage is. Pure: nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout import evidence, feedback, shadow
from modelyard.rollout.evidence import Thresholds
from modelyard.rollout.fast_track import ACCURACY, offered
from modelyard.rollout.state import RolloutState

if TYPE_CHECKING:
    import pandas as pd


def measurements(
    state: RolloutState, states: Mapping[str, ReplicaState], frame: pd.DataFrame, now: datetime, thresholds: Thresholds
) -> list[Measurement]:
    """What replicas and prediction log say at this moment of the stage that the rollout is in."""
    entered = state.entered_at or state.opened_at
    of_stage = _in_shadow if state.current.shadow else _in_the_open
    return [
        Measurement(name="seconds_in_stage", value=(now - entered).total_seconds(), unit="s"),
        evidence.trips(states),
        *of_stage(state, states, frame, entered),
        _loss(state, frame, thresholds),
        *_accuracy(state, frame, thresholds),
        *feedback.measure(state, frame),
    ]


def _in_the_open(
    state: RolloutState,  # noqa: ARG001  of the same form as _in_shadow
    states: Mapping[str, ReplicaState],
    frame: pd.DataFrame,
    entered: datetime,
) -> list[Measurement]:
    """With all traffic on the challenger, the champion's part is what was recorded of it before."""
    challenger, champion = _answered(frame)
    in_stage = challenger[challenger["served_at"] >= entered]
    return [
        evidence.rows("challenger", in_stage),
        evidence.rows("champion", champion[champion["served_at"] >= entered]),
        evidence.error_rate("challenger", states),
        evidence.error_rate("champion", states),
        evidence.latency_p95("challenger", in_stage),
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
        evidence.latency_p95("champion", own),
        shadow.disagreement(mirrored, state.policy.guardrails.disagreement_above),
    ]


def _answered(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows by who answered. The champion's answers to the challenger's failures say nothing of its own latency."""
    challenger, champion = (frame[frame["variant"] == variant] for variant in ("challenger", "champion"))
    return challenger, champion[champion["error"] == ""]


def _loss(state: RolloutState, frame: pd.DataFrame, thresholds: Thresholds) -> Measurement:
    if state.current.shadow and not state.paired:
        why = "the outcome depends on the answer, and the challenger gave none"
        return Measurement(name=evidence.LOSS, value=None, why=why)
    return evidence.loss_difference(
        _concurrent(state, frame), state.policy.quality, paired=state.paired, thresholds=thresholds
    )


def _concurrent(state: RolloutState, frame: pd.DataFrame) -> pd.DataFrame:
    """Unpaired, only rows of a time in which both answered can be compared: those of a shadow stage are left out."""
    if state.paired:
        return frame
    opened = [e.at for e in state.events if e.kind == "entered" and not state.stages[e.stage].shadow]
    return frame[frame["served_at"] >= opened[0]] if opened else frame.head(0)


def _accuracy(state: RolloutState, frame: pd.DataFrame, thresholds: Thresholds) -> list[Measurement]:
    """What the fast track asks beside errors and latency."""
    track = state.policy.fast_track
    if track is None or not offered(state):
        return []
    asked = state.policy.quality.model_copy(update={"metric": "accuracy", "min_rows": track.min_rows})
    loss = evidence.loss_difference(_concurrent(state, frame), asked, paired=state.paired, thresholds=thresholds)
    if loss.value is None or loss.low is None or loss.high is None:
        return [Measurement(name=ACCURACY, value=None, n=loss.n, why=loss.why)]
    turned = {"value": -loss.value, "low": -loss.high, "high": -loss.low, "confidence": loss.confidence}
    return [Measurement.model_validate({"name": ACCURACY, "n": loss.n, **turned})]
