"""A trip that one replica has recorded is heard by all: by the other replicas at once, by the controller at its look.
Both outlive the replica."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import Gateway, running
from fixtures.platforms import FakePlatform, release_for
from fixtures.rollout_drive import NOW, outcome, promoted

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.core.verdict import Outcome
from modelyard.flows import rollout
from modelyard.ports.fleet import Route, Trip

LIMITS = {"alpha": 0.00125}


def until(true: Callable[[], bool]) -> None:
    """Wait for it, for as long as a busy machine may need."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come true")


def test_replicas_hear_of_a_trip_of_one_that_is_dead_by_now(tmp_path: Path) -> None:
    old = write_bundle_of(tmp_path / "old")[1]
    nan = write_bundle_of(tmp_path / "nan", version=2, onnx=graph(fault="nan"))[1]
    fine = write_bundle_of(tmp_path / "fine", version=3, onnx=graph(bias=0.1))[1]
    given = {"model": MODEL, "champion": old, "weight": 10_000, "salt": "s", "guardrails": LIMITS}
    bad = Route.model_validate(given | {"challenger": nan, "rollout": "r1"})
    with ExitStack() as stack:
        first, second = (stack.enter_context(running(tmp_path / "home", f"gateway-{n}")) for n in (1, 2))
        for gateway in (first, second):
            assert gateway.route(bad, 1).status_code == 200
        assert second.state(MODEL)["weight"] == 10_000
        for n in range(40):
            first.predict(MODEL, rows=[ROW | {"flight": f"F{n}"}])
        log = ParquetPredictions(tmp_path / "home" / "predictions")
        until(lambda: log.trips(MODEL, "r1") != ())
        first.kill()
        (trip,) = log.trips(MODEL, "r1")
        assert (trip.replica, trip.guardrail, trip.challenger) == ("gateway-1", "invalid_output", nan.release)
        # The other replica was asked nothing by anybody, and there is no controller.
        until(lambda: second.state(MODEL)["tripped"] != "")
        assert _off(second) == ("invalid_output (on gateway-1)", 0)
        assert log.trips(MODEL, "r1") == (trip,)  # what was only heard is not recorded as one's own
        # It is part of the state, and of that rollout alone.
        second.kill()
        second.start()
        assert _off(second) == ("invalid_output (on gateway-1)", 0)
        good = Route.model_validate(given | {"challenger": fine, "rollout": "r2"})
        assert second.route(good, 2).json()["weight"] == 10_000
        time.sleep(1.5)  # some looks of the watch; a wrong one would take the challenger off
        assert _off(second) == ("", 10_000)
        # One that lost its state, and its neighbours, learns it from the record.
        third = stack.enter_context(running(tmp_path / "home", "gateway-3"))
        third.route(bad, 1)
        until(lambda: third.state(MODEL)["tripped"] != "")


def _off(gateway: Gateway) -> tuple[str, int]:
    state = gateway.state(MODEL)
    return state["tripped"], state["weight"]


def trip(model: str, release: str, rollout_id: str) -> Trip:
    return Trip(
        replica="gateway-2", model=model, rollout=rollout_id, challenger=release, generation=2, guardrail="error_rate",
        at=NOW,
    )  # fmt: skip


def test_a_look_hears_of_a_trip_of_a_replica_that_is_gone(make: Callable[[str], FakePlatform]) -> None:
    model = "trips_look"
    platform = make(model)
    promoted(platform, model, 1)
    state = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    state = rollout.enter(platform, state.id, 0, NOW)
    platform.fleet.replicas[1].up = False
    # Of another rollout, or of another version: not this one's.
    platform.predictions.recorded = (
        trip(model, state.release, "another"),
        trip(model, state.champion.release if state.champion else "", state.id),
    )
    assert rollout.look(platform, state.id, NOW + timedelta(seconds=30)).action == "hold"
    platform.predictions.recorded += (trip(model, state.release, state.id),)
    state = rollout.look(platform, state.id, NOW + timedelta(seconds=61))
    assert state.status == "rolling_back"
    run = platform.ledger.rollouts.looks(state.id)[-1]
    verdicts = {v.check: v for v in run.verdicts}
    assert verdicts["guardrails"].outcome is Outcome.FAILED
    assert "gateway-2: error_rate" in verdicts["guardrails"].reason
    # Fanned out at once to those that are there, and to the other when it is back.
    assert platform.fleet.replicas[0].state(model).challenger is None
    platform.fleet.replicas[1].up = True
    rollout.roll_back(platform, state.id, NOW + timedelta(seconds=90))
    assert platform.fleet.replicas[1].state(model).challenger is None
    assert outcome(platform, model, state.release)["release"] == "quarantined"


def test_a_recorded_trip_is_heard_between_two_looks(make: Callable[[str], FakePlatform]) -> None:
    model = "trips_between"
    platform = make(model)
    promoted(platform, model, 1)
    state = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    state = rollout.enter(platform, state.id, 0, NOW)
    assert rollout.look(platform, state.id, NOW + timedelta(seconds=61)).action == "advance"
    platform.fleet.replicas[1].up = False
    platform.predictions.recorded = (trip(model, state.release, state.id),)
    state = rollout.enter(platform, state.id, 1, NOW + timedelta(seconds=62))
    assert state.status == "rolling_back"
    assert "gateway-2: error_rate" in state.reason
