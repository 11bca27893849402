"""Measurements of a look: errors, latency, trips; honest about what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.ports.fleet import ReplicaState
from modelyard.rollout import evidence


def timed(n: int, *, rows: int = 1, seed: int = 0) -> pd.DataFrame:
    """Requests of so many rows each, as the gateway logs them."""
    ids = [f"r{i}.{place}" if rows > 1 else f"r{i}" for i in range(n) for place in range(rows)]
    took = np.repeat(np.random.default_rng(seed).exponential(1.0, n), rows)
    at = np.repeat(pd.date_range("2013-04-09", periods=n, freq="ms", tz="UTC"), rows)
    return pd.DataFrame({"request_id": ids, "served_at": at, "latency_ms": took})


def test_p95_has_an_interval_around_it() -> None:
    measured = evidence.latency_p95("challenger", timed(2000))
    assert measured.low < measured.value < measured.high
    assert measured.value == pytest.approx(-np.log(0.05), rel=0.1)
    assert evidence.latency_p95("challenger", timed(0)).value is None


def test_rows_of_one_request_are_one_observation_of_its_latency() -> None:
    one, many = (evidence.latency_p95("challenger", timed(500, rows=rows)) for rows in (1, 50))
    assert many == one
    missed = 0
    for seed in range(100):
        measured = evidence.latency_p95("challenger", timed(300, rows=20, seed=seed))
        missed += not (measured.low or 0.0) <= -np.log(0.05) <= (measured.high or np.inf)
    assert missed <= 5  # the level is .0125; taken row by row it is 60 or so


def test_requests_whose_clients_number_them_are_requests_all_the_same() -> None:
    frame = timed(300)
    numbered = frame.assign(request_id=[f"job.{n}" for n in range(300)])
    assert evidence.latency_p95("challenger", numbered) == evidence.latency_p95("challenger", frame)


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
