"""Blue-green, shadow and A/B rollouts on real replicas, with their real log; the ledger is real too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fixtures.bundles import ROW, graph
from fixtures.gateways import Gateway, running
from fixtures.platforms import FakePlatform, release_for, write_project
from fixtures.rollout_drive import NOW, promoted
from fixtures.strategies import stage, use
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.flows import rollout
from modelyard.rollout.state import RolloutState

QUICK: dict[str, Any] = {
    # A shadow's calls have the rows of 50 ms each: few for the rows that are sent here.
    "tolerance": {"error_rate": 0.05, "latency_p95_ms": 500, "min_rows": 10},
    "quality": {"margin": 0.05, "min_rows": 200},
    "guardrails": {"timeout_ms": 1000, "latency_slo_ms": 500},  # for a busy machine: nothing here is about its speed
}


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        names = ("gateway-1", "gateway-2")
        yield [stack.enter_context(running(tmp_path / "home", name, "--log-seconds", "0.1")) for name in names]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model for each test: they share a ledger."""
    return str(request.node.name).removeprefix("test_")


@pytest.fixture
def platform(tmp_path: Path, replicas: list[Gateway], ledger_engine: Engine, model: str) -> FakePlatform:
    """Version 1 is champion on two real replicas."""
    fleet = GatewayFleet([g.url for g in replicas], replicas[0].home / "token", timeout=20)
    made = FakePlatform(write_project(tmp_path, model), PostgresLedger(ledger_engine), fleet)
    made.predictions = ParquetPredictions(replicas[0].home / "predictions")
    promoted(made, model, 1)
    return made


def ask(model: str, replicas: list[Gateway], n: int, name: str, **changes: Any) -> set[int]:
    """Every replica is asked about ``n`` rows of ten days, one at a time; all are answered, by these versions."""

    def one(gateway: Gateway) -> set[int]:
        found = set()
        for number in range(n):
            day = (datetime.now(UTC) - timedelta(days=number % 10)).isoformat()
            row = ROW | {"flight": f"{gateway.replica}-{name}-{number}"} | changes
            answer = gateway.predict(model, rows=[row], event_time=day)
            assert answer.status_code == 200, answer.text
            found.add(answer.json()["predictions"][0]["version"])
        return found

    with ThreadPoolExecutor(len(replicas)) as pool:
        return set().union(*pool.map(one, replicas))


def label(model: str, replicas: list[Gateway], n: int, name: str) -> None:
    """An outcome for every row that ``ask`` has asked about; a quarter of them late."""
    known = datetime.now(UTC).isoformat()
    for gateway in replicas:
        keys = [f"{gateway.replica}-{name}-{number}" for number in range(n)]
        rows = [{"key": key, "label": int(at % 4 == 0), "known_at": known} for at, key in enumerate(keys)]
        body = {"rows": rows}
        assert gateway.http.post(f"/v1/models/{model}/feedback", json=body).status_code == 202


def entered(platform: FakePlatform, opened: RolloutState, number: int) -> RolloutState:
    return rollout.enter(platform, opened.id, number, datetime.now(UTC))


def written(platform: FakePlatform, state: RolloutState, rows: int) -> None:
    """Waits until the log has so many rows: on a busy machine a look may have enough of them sooner."""
    for _ in range(200):
        if len(platform.predictions.rollout(state.model, state.id)) == rows:
            return
        time.sleep(0.1)
    pytest.fail(f"the log has not got {rows} rows")


def looked(platform: FakePlatform, state: RolloutState, fine: Callable[[RolloutState], bool]) -> RolloutState:
    """Looks a little over a minute later by the policy's clock, until the log has what was asked."""
    for _ in range(200):
        state = rollout.look(platform, state.id, datetime.now(UTC) + timedelta(seconds=61))
        if fine(state):
            return state
        time.sleep(0.1)
    pytest.fail(f"{state.action}: {state.reason}")


def test_blue_green_switches_at_once_and_back_at_once(
    platform: FakePlatform, replicas: list[Gateway], model: str
) -> None:
    use(platform, "blue_green", **QUICK)
    release = release_for(platform, model, 2, NOW, onnx=graph(bias=0.001))
    state = entered(platform, rollout.start(platform, release, NOW), 0)
    assert ask(model, replicas, 200, "before") == {1}  # loaded, warm, compared; it answers nobody
    state = looked(platform, state, lambda s: s.action == "advance")
    verdicts = {v.check: v.reason for v in platform.ledger.rollouts.looks(state.id)[-1].verdicts}
    assert verdicts["smoke"] == "every replica answers the example alike"

    stop = Event()
    with ThreadPoolExecutor(1) as pool:  # users, while the switch is made

        def users() -> list[set[int]]:
            seen = []
            while not stop.is_set():
                seen.append(ask(model, replicas, 5, "during"))
            return seen

        seen = pool.submit(users)
        state = entered(platform, state, 1)
        assert ask(model, replicas, 200, "after") == {2}
        stop.set()
        assert {2} in seen.result()
    assert {(s.champion, s.weight) for s in platform.fleet.state(model).values()} == {(state.champion.release, 10_000)}
    label(model, replicas, 200, "after")
    state = looked(platform, state, lambda s: s.action == "promote")
    assert rollout.promote(platform, state.id, datetime.now(UTC)).status == "promoted"

    # A version that fails on what only comes after the switch: the old one answers, at once and on every replica.
    third = release_for(platform, model, 3, NOW, onnx=graph(bias=0.001, fault="raise"))
    state = entered(platform, rollout.start(platform, third, NOW), 0)
    assert ask(model, replicas, 200, "calm") == {2}
    state = entered(platform, looked(platform, state, lambda s: s.action == "advance"), 1)
    assert 3 in ask(model, replicas, 1, "fine")
    assert ask(model, replicas, 60, "far", distance=6000.0) == {2}
    assert {s.tripped for s in platform.fleet.state(model).values()} == {"error_rate"}
    assert ask(model, replicas, 1, "fine again") == {2}
    state = looked(platform, state, lambda s: s.status == "rolling_back")
    assert rollout.roll_back(platform, state.id, datetime.now(UTC)).status == "rolled_back"
    assert platform.ledger.releases.state(third) == "quarantined"


def test_a_shadow_harms_nobody_and_then_a_test_decides(
    platform: FakePlatform, replicas: list[Gateway], model: str
) -> None:
    use(platform, "shadow", **QUICK)

    # One that fails on some rows is found, and no user has met it.
    bad = release_for(platform, model, 2, NOW, onnx=graph(bias=0.001, fault="raise"))
    state = entered(platform, rollout.start(platform, bad, NOW), 0)
    assert ask(model, replicas, 60, "far", distance=6000.0) == {1}
    state = looked(platform, state, lambda s: s.status == "rolling_back")
    assert "error_rate" in state.reason
    assert rollout.roll_back(platform, state.id, datetime.now(UTC)).status == "rolled_back"

    # One that is fine is compared, and taken off with nothing held against it.
    good = release_for(platform, model, 3, NOW, onnx=graph(bias=0.001))
    state = entered(platform, rollout.start(platform, good, NOW), 0)
    assert rollout.look(platform, state.id, datetime.now(UTC) + timedelta(seconds=61)).action == "hold"
    assert ask(model, replicas, 200, "shadowed") == {1}
    label(model, replicas, 200, "shadowed")
    written(platform, state, 400)
    state = looked(platform, state, lambda s: s.action == "conclude")
    rows = {m.name: m for m in platform.ledger.rollouts.looks(state.id)[-1].measurements if m.variant == "challenger"}
    assert rows["rows"].evidence == "scored of 400 answered"
    assert (rows["disagreement"].value, rows["error_rate"].value) == (0.0, 0.0)
    assert rollout.stand_down(platform, state.id, datetime.now(UTC)).status == "concluded"
    assert {s.challenger for s in platform.fleet.state(model).values()} == {None}
    assert platform.ledger.releases.state(good) == "ready"

    # The same release, in a test at a split, until its metric has decided.
    quality = QUICK["quality"] | {"ask": "non_inferior", "metric": "brier"}
    use(platform, "ab_test", **(QUICK | {"quality": quality, "stages": [stage(50, min_rows=100)]}))
    state = entered(platform, rollout.start(platform, good, NOW), 0)
    assert ask(model, replicas, 300, "tested") == {1, 3}
    assert rollout.look(platform, state.id, datetime.now(UTC) + timedelta(seconds=61)).action == "hold"
    late = rollout.look(platform, state.id, datetime.now(UTC) + timedelta(days=30))
    assert (late.action, late.status) == ("ask", "running")  # no labels, no winner
    label(model, replicas, 300, "tested")
    state = looked(platform, late, lambda s: s.action == "promote")
    assert rollout.promote(platform, state.id, datetime.now(UTC)).status == "promoted"
    assert ask(model, replicas, 1, "done") == {3}
