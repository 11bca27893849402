"""The measurements of a look: by metric, in shadow, and only of a time in which both versions answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fixtures.rollouts import NOW, after, running
from fixtures.strategies import policy

from modelyard.core.verdict import Measurement
from modelyard.ports.fleet import ReplicaState
from modelyard.rollout.look import measurements
from modelyard.rollout.loss import loss_difference
from modelyard.rollout.state import RolloutState


def rows(n: int, **columns: Any) -> pd.DataFrame:
    given: dict[str, Any] = {
        "key": [f"k{i}" for i in range(n)], "request_id": [f"r{i}" for i in range(n)], "variant": "champion",
        "score": 0.3, "other_score": np.nan, "label": np.nan,
        "latency_ms": 1.0, "error": "", "served_at": pd.Series([after(60)] * n, dtype="datetime64[us, UTC]"),
        "event_time": pd.Series([after(3600.0 * (i % 240)) for i in range(n)], dtype="datetime64[us, UTC]"),
    }  # fmt: skip
    return pd.DataFrame(given | columns)


def replica(name: str, **counts: dict[str, float]) -> ReplicaState:
    named = {key.replace("__", "."): value for key, value in counts.items()}
    return ReplicaState(replica=name, generation=1, champion="a", challenger="b", weight=0, counts=named)


def look(state: RolloutState, frame: pd.DataFrame, **counts: dict[str, float]) -> dict[tuple[str, str], Measurement]:
    states = {name: replica(name, **counts) for name in ("g1", "g2")}
    return {(m.name, m.variant): m for m in measurements(state, states, frame, after(120), {})}


def at(name: str, number: int = 0, **changes: Any) -> RolloutState:
    made = policy(name)
    return running(number, strategy=made.strategy, policy=made, **changes)


@pytest.mark.parametrize(("metric", "expected"), [("logloss", 0.5108 - 0.6931), ("brier", 0.16 - 0.25)])
def test_the_loss_is_that_of_the_metric(metric: str, expected: float) -> None:
    quality = policy("canary", quality={"metric": metric}).quality
    frame = rows(400, score=0.5, other_score=0.6, label=1.0)
    jitter = np.random.default_rng(0).normal(0, 1e-4, 400)
    measured = loss_difference(frame.assign(other_score=frame["other_score"] + jitter), quality, paired=True)[0]
    assert measured.value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_accuracy_counts_wrong_answers_by_each_versions_own_threshold(paired: bool) -> None:
    quality = policy("canary", quality={"metric": "accuracy"}).quality
    half = rows(400, score=0.4, other_score=0.4, label=[1.0, 0.0] * 200)
    frame = pd.concat([half.assign(variant=v, key=[f"{v}{i}" for i in range(400)]) for v in ("champion", "challenger")])
    same = loss_difference(frame, quality, paired=paired)[0]
    assert same.value == 0.0
    # With a threshold of .3 the challenger says yes to all, the champion no: each is wrong on one half of the rows.
    apart = loss_difference(frame, quality, paired=paired, thresholds={"challenger": 0.3, "champion": 0.5})[0]
    assert apart.value == pytest.approx(0.0, abs=1e-12)
    assert apart.low < 0 < apart.high
    late = frame.assign(label=1.0)
    better = loss_difference(late, quality, paired=True, thresholds={"challenger": 0.3, "champion": 0.5})[0]
    assert better.value is None  # every row says the same: the spread of what is to come is not known
    assert "no evidence" in better.why


def test_a_shadow_counts_what_was_scored_and_not_what_was_dropped() -> None:
    frame = rows(300, other_score=[0.3] * 150 + [0.9] * 50 + [np.nan] * 100)
    found = look(
        at("shadow"),
        frame,
        mirror={"requests": 100, "errors": 2, "dropped": 7},
        guard__latency_slo={"failures": 2, "trials": 50},
        call_ms={"comparable": 1},
        call_ms__challenger={"1": 190, "4": 10},
        call_ms__champion={"1": 199, "2": 1},
    )
    shadowed = found["rows", "challenger"]
    assert (shadowed.value, shadowed.evidence) == (200, "scored of 300 answered")
    assert (found["error_rate", "challenger"].value, found["slow_rate", "challenger"].value) == (0.02, 0.04)
    apart = found["disagreement", "challenger"]
    assert (apart.value, apart.n) == (0.25, 200)
    assert apart.low < 0.25 < apart.high
    assert ("latency_p95_ms", "challenger") not in found
    errors = found["error_rate", "challenger"]
    assert (errors.n, errors.evidence) == (200, "requests; 14 more dropped by a full queue")  # of both replicas
    calls = {variant: found["call_p95_ms", variant] for variant in ("challenger", "champion")}
    assert [(m.value, m.n, m.unit) for m in calls.values()] == [(4.0, 400, "ms"), (1.0, 400, "ms")]
    assert calls["challenger"].low == 1.0


def test_versions_of_different_inputs_have_no_batches_in_common() -> None:
    found = look(at("shadow"), rows(300), call_ms={"comparable": 0}, call_ms__challenger={})
    assert "different inputs" in found["call_p95_ms", "challenger"].why
    waiting = look(at("shadow"), rows(300), call_ms={"comparable": 1}, call_ms__challenger={})
    assert "different inputs" not in waiting["call_p95_ms", "challenger"].why


def test_an_idle_shadow_is_no_evidence() -> None:
    found = look(at("shadow"), rows(0))
    assert found["rows", "challenger"].value == 0
    for name in ("error_rate", "slow_rate", "disagreement"):
        assert (found[name, "challenger"].value, found[name, "challenger"].why) == (None, "nothing was mirrored yet")


def test_rows_of_an_earlier_stage_are_no_rows_of_this_one() -> None:
    old = rows(300, other_score=0.3, served_at=pd.Series([NOW - pd.Timedelta("1h")] * 300, dtype="datetime64[us, UTC]"))
    assert look(at("shadow"), old)["rows", "challenger"].value == 0


def test_unpaired_losses_are_compared_only_where_both_answered() -> None:
    shadowed = rows(300, score=0.01, label=1.0)
    state = at("shadow_canary", paired=False)
    why = look(state, shadowed)["loss_difference", ""].why
    assert why == "the outcome depends on the answer, and the challenger gave none"
    state = state.looked("advance", "", after(100)).begin_stage(1, after(100)).enter(1, after(100))
    random = np.random.default_rng(3)
    both = rows(
        400, variant=["champion", "challenger"] * 200, score=random.uniform(0.2, 0.4, 400), label=0.0,
        served_at=pd.Series([after(110)] * 400, dtype="datetime64[us, UTC]"),
    )  # fmt: skip
    loss = look(state, pd.concat([shadowed, both]))["loss_difference", ""]
    assert loss.n == 200
    assert abs(loss.value) < 0.02  # with the shadow's rows the champion's loss would be far higher


def test_the_accuracy_gain_is_measured_only_where_the_fast_track_is_offered() -> None:
    random = np.random.default_rng(4)
    label = (random.random(3000) < 0.5).astype(float)
    right, poor = np.where(label == 1, 0.8, 0.2), random.uniform(0, 1, 3000)
    served = pd.Series([after(60)] * 3000, dtype="datetime64[us, UTC]")
    frame = rows(3000, variant="challenger", score=right, other_score=poor, label=label, served_at=served)
    assert ("accuracy_gain", "") not in look(at("fast_track", 1), frame)
    assert ("accuracy_gain", "") not in look(at("ladder", 2), frame)
    gain = look(at("fast_track", 2), frame)["accuracy_gain", ""]
    assert gain.value == pytest.approx(0.5, abs=0.05)
    assert 0.02 < gain.low < gain.value < gain.high
    assert look(at("fast_track", 2), frame.assign(label=np.nan))["accuracy_gain", ""].value is None
