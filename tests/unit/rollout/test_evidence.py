"""Measurements of a look: errors, latency, trips; honest about what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.ports.fleet import ReplicaState
from modelyard.rollout import evidence


def timed(n: int) -> pd.DataFrame:
    return pd.DataFrame({"latency_ms": np.random.default_rng(0).exponential(1.0, n)})


def test_p95_has_an_interval_around_it() -> None:
    measured = evidence.latency_p95("challenger", timed(2000))
    assert measured.low < measured.value < measured.high
    assert measured.value == pytest.approx(-np.log(0.05), rel=0.1)
    assert evidence.latency_p95("challenger", timed(0)).value is None


def test_stages_share_the_level_of_the_latency() -> None:
    one, of_four = (evidence.latency_p95("challenger", timed(2000), shared_by=stages) for stages in (1, 4))
    assert of_four.low < one.low < one.high < of_four.high
    assert 1 - of_four.confidence == pytest.approx((1 - one.confidence) / 4)


def test_a_request_is_one_trial_however_many_rows_it_has() -> None:
    counts = {"challenger": {"rows": 1000, "repeats": 900, "errors": 30, "failed_repeats": 27}}
    state = ReplicaState(replica="g1", generation=1, champion="a", challenger="b", weight=5, counts=counts)
    rate = evidence.error_rate("challenger", {"g1": state})
    assert (rate.value, rate.n) == (0.03, 100)


def test_errors_and_trips_are_added_up_over_replicas() -> None:
    def state(name: str, rows: float, errors: float, tripped: str = "") -> ReplicaState:
        counts = {"challenger": {"rows": rows, "errors": errors}}
        return ReplicaState(
            replica=name, generation=1, champion="a", challenger="b", weight=5, tripped=tripped, counts=counts
        )

    states = {"g1": state("g1", 60, 3), "g2": state("g2", 40, 2, "error_rate")}
    rate = evidence.error_rate("challenger", states)
    assert (rate.value, rate.n) == (0.05, 100)
    assert evidence.error_rate("champion", states).value is None
    assert evidence.trips(states).value == 1
    assert evidence.trips(states).evidence == "g2: error_rate"
