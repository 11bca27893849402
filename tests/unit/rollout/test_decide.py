"""Deciding: no evidence holds, harm ends, everything shown goes on; and the record replays."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from fixtures.rollouts import after, healthy_fleet, running
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.records import AnalysisRun
from modelyard.core.verdict import Measurement, Outcome
from modelyard.rollout.decide import decide, quality
from modelyard.rollout.loss import loss_difference
from modelyard.rollout.state import RolloutState

DAY = 86_400.0


def measured(**changes: Any) -> list[Measurement]:
    """All is well after a day at 5%, unless told otherwise; None leaves a measurement out."""
    given: dict[str, Any] = {
        "seconds": {"name": "seconds_in_stage", "value": DAY},
        "trips": {"name": "guardrail_trips", "value": 0},
        "rows": {"name": "rows", "value": 500, "n": 500, "variant": "challenger"},
        "errors": {"name": "error_rate", "value": 0.0, "low": 0.0, "high": 0.005, "n": 500, "variant": "challenger"},
        "base_errors": {"name": "error_rate", "value": 0.0, "low": 0.0, "high": 0.01, "n": 5000, "variant": "champion"},
        "latency": {"name": "latency_p95_ms", "value": 3.0, "low": 2.0, "high": 4.0, "n": 500, "variant": "challenger"},
        "base_latency": {
            "name": "latency_p95_ms",
            "value": 2.0,
            "low": 1.9,
            "high": 2.1,
            "n": 5000,
            "variant": "champion",
        },
        "loss": {"name": "loss_difference", "value": -0.001, "low": -0.006, "high": 0.004, "n": 1500},
        "by_rows": {"name": "loss_difference_rows", "value": -0.001, "low": -0.003, "high": 0.001, "n": 1500},
    }
    chosen = [None if changes.get(k, v) is None else v | changes.get(k, {}) for k, v in given.items()]
    return [*(Measurement.model_validate(m) for m in chosen if m is not None), *healthy_fleet()]


def action(state: RolloutState, now: datetime, **changes: Any) -> str:
    return decide(state, measured(**changes), now).action


def test_all_shown_advances_and_at_the_end_promotes() -> None:
    assert action(running(0), after(DAY)) == "advance"
    assert action(running(3), after(DAY / 2)) == "promote"


@pytest.mark.parametrize(
    "change",
    [
        {"errors": {"high": 0.0061}},
        {"errors": {"high": None}},
        {"latency": {"high": 50.1}},
        {"latency": {"high": None}},
        {"latency": {"high": 65.0}, "base_latency": {"value": 60.0, "low": 59.0, "high": 61.0}},
    ],
)
def test_promotion_takes_proof_and_a_stage_does_not(change: dict[str, Any]) -> None:
    assert action(running(0), after(DAY), **change) == "advance"
    assert action(running(3), after(DAY / 2), **change) == "hold"


def test_harm_must_be_apart_from_what_the_champion_may_be() -> None:
    unsure = {"value": 0.02, "low": 0.005, "high": 0.06, "n": 400}
    bad = {"value": 0.05, "low": 0.03, "high": 0.07}
    assert action(running(0), after(DAY), errors=bad, base_errors=unsure) == "hold"
    assert action(running(0), after(DAY), errors=bad) == "rollback"
    slow, few = {"value": 90.0, "low": 80.0, "high": 99.0}, {"value": 40.0, "low": 30.0, "high": None}
    assert action(running(0), after(DAY), latency=slow, base_latency=few) == "hold"


@pytest.mark.parametrize("missing", ["seconds", "trips", "rows", "errors", "latency", "loss"])
def test_what_was_not_measured_holds(missing: str) -> None:
    assert action(running(0), after(DAY), **{missing: None}) == "hold"


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": {"value": 60.0}},
        {"rows": {"value": 99, "n": 99}},
        {"rows": {"value": 0, "n": 0}},
        {"errors": {"value": None, "why": "no rows yet"}},
        {"errors": {"n": 50}},
        {"errors": {"value": 0.012, "low": 0.004}},
        {"latency": {"value": None, "why": "no rows yet"}},
        {"loss": {"value": None, "why": "no labels"}},
        {"loss": {"n": 1199}},
        {"loss": {"high": 0.0101}},
        {"loss": {"value": 0.02, "low": 0.011, "high": 0.03, "n": 1199}},  # a calm afternoon, or harm? too early to say
        {"loss": {"low": None, "high": None}},  # fewer blocks than the policy asks for
        {"by_rows": {"value": 0.07, "low": 0.051, "high": 0.09, "n": 250}, "loss": {"low": None, "high": None}},
    ],
)
def test_too_little_holds_until_the_deadline(change: dict[str, Any]) -> None:
    state = running(0)
    assert action(state, after(DAY), **change) == "hold"
    assert action(state, after(state.current.max_seconds), **change) == "rollback"
    asking = state.model_copy(update={"policy": state.policy.model_copy(update={"on_deadline": "ask"})})
    assert action(asking, after(state.current.max_seconds), **change) == "ask"


@pytest.mark.parametrize(
    "change",
    [
        {"trips": {"value": 1, "evidence": "gateway-1: error_rate"}},
        {"errors": {"value": 0.05, "low": 0.03}},
        {"latency": {"value": 90.0, "low": 80.0, "high": 99.0}},
        {"loss": {"value": 0.02, "low": 0.011, "high": 0.03, "n": 1200}},
        {"by_rows": {"value": 0.07, "low": 0.051, "high": 0.09, "n": 300}, "loss": {"low": None, "high": None}},
    ],
)
def test_harm_ends_it_at_any_time(change: dict[str, Any]) -> None:
    assert action(running(0), after(1), seconds={"value": 1.0}, **change) == "rollback"
    assert action(running(2).pause(True, "ann", after(0)), after(1), **change) == "rollback"


def test_a_pause_holds() -> None:
    assert action(running(0).pause(True, "ann", after(0)), after(DAY)) == "hold"


def test_small_latencies_are_not_compared() -> None:
    slow = {"value": 40.0, "low": 39.0, "high": 41.0}
    assert action(running(0), after(DAY), latency=slow) == "advance"


def test_slow_together_is_not_slower() -> None:
    both = {"value": 90.0, "low": 80.0, "high": 99.0}
    assert action(running(0), after(DAY), latency=both, base_latency=both) == "advance"


def test_one_failed_request_is_no_rate() -> None:
    assert action(running(0), after(DAY), errors={"value": 0.5, "low": 0.095, "n": 2}) == "hold"


def test_superiority_may_be_asked() -> None:
    state = running(0)
    asked = state.policy.quality.model_copy(update={"ask": "superior"})
    asking = state.model_copy(update={"policy": state.policy.model_copy(update={"quality": asked})})
    assert action(asking, after(DAY)) == "hold"
    assert action(asking, after(DAY), loss={"high": -0.001}) == "advance"


def test_an_identical_version_is_not_the_better_one() -> None:
    """Where both scored every row alike, the interval of the difference is the point zero."""
    state = running(0)
    n = 1500
    frame = pd.DataFrame(
        {
            "key": [str(i) for i in range(n)],
            "variant": ["champion", "challenger"] * (n // 2),
            "score": 0.3,
            "other_score": 0.3,
            "label": [0.0, 0.0, 1.0] * (n // 3),
            "event_time": after(0) + pd.to_timedelta(range(n), unit="h"),
        }
    )
    found, by_rows, _ = loss_difference(frame, state.policy.quality, paired=True)
    assert (found.value, found.low, found.high, found.n) == (0.0, 0.0, 0.0, n)
    assert quality(state, found, by_rows).outcome is Outcome.SUCCESSFUL  # it is within the margin
    policy = state.policy.model_copy(
        update={"quality": state.policy.quality.model_copy(update={"ask": "superior"}), "strategy": "ab_test"}
    )
    verdict = quality(state.model_copy(update={"policy": policy, "strategy": "ab_test"}), found, by_rows)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "an upper end below 0 are asked" in verdict.reason


def test_a_first_release_needs_its_smoke_test() -> None:
    first = running(0, champion=None, strategy="first")
    good, bad = (Measurement(name="smoke", value=v, n=2, evidence="x") for v in (0, 1))
    silent = Measurement(name="smoke", value=None, why="no replica")
    assert [decide(first, [m, *healthy_fleet()], after(1)).action for m in (good, bad, silent)] == [
        "promote",
        "rollback",
        "hold",
    ]


@given(st.sampled_from([0, 1, 2, 3]), st.floats(-0.1, 0.1), st.integers(0, 5000), st.floats(0, DAY * 20))
def test_a_look_replays_from_its_record(stage: int, loss: float, n: int, seconds: float) -> None:
    state = running(stage)
    change = {"value": loss, "low": loss - 0.005, "high": loss + 0.005, "n": n}
    run = decide(state, measured(loss=change, seconds={"value": seconds}), after(seconds))
    again = AnalysisRun.from_json(run.to_json())
    assert decide(state, again.measurements, again.as_of) == run
    if run.action in ("advance", "promote"):
        assert all(v.outcome is Outcome.SUCCESSFUL for v in run.verdicts)
