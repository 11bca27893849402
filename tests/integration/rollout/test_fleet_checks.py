"""What a look asks of the fleet, on replicas in memory and on real ones behind the real edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures.bundles import ROW, graph
from fixtures.edges import Edge, edge_before
from fixtures.gateways import Gateway, running
from fixtures.memory_fleet import MemoryReplica
from fixtures.platforms import FakePlatform, release_for, write_project
from fixtures.rollout_drive import NOW, promoted
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.adapters.http_edge import HttpEdge
from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.core.errors import Unavailable
from modelyard.core.records import AnalysisRun
from modelyard.core.verdict import Outcome, Verdict
from modelyard.flows import rollout
from modelyard.rollout.fleet import LEAST_SHARE
from modelyard.rollout.state import RolloutState

FINE, FAILED, OPEN = Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE
Make = Callable[[str], FakePlatform]


def entered(platform: FakePlatform, model: str, **bundle: Any) -> RolloutState:
    """Version 2 at 5%."""
    release = release_for(platform, model, 2, NOW, **bundle)
    return rollout.enter(platform, rollout.start(platform, release, NOW).id, 0, NOW)


def looked(platform: FakePlatform, state: RolloutState, seconds: float) -> tuple[AnalysisRun, dict[str, Verdict]]:
    """The next look, as it is on record."""
    rollout.look(platform, state.id, NOW + timedelta(seconds=seconds))
    run = platform.ledger.rollouts.looks(state.id)[-1]
    return run, {v.check: v for v in run.verdicts}


def test_a_lost_replica_holds_the_stage_until_it_is_back(make: Make) -> None:
    platform = make("fleet_lost")
    promoted(platform, "fleet_lost", 1)
    state, lost = entered(platform, "fleet_lost"), platform.fleet.replicas[1]
    lost.up = False
    run, verdicts = looked(platform, state, 61)
    assert run.action == "hold"
    assert verdicts["replicas"].reason == "1 of 2 replicas follow the split (gateway-2 does not answer)"
    assert verdicts["alike"].outcome is OPEN
    assert platform.fleet.replicas[0].state("fleet_lost").weight == 500  # the stage goes on where it can
    lost.up = True
    lost.routes.clear()
    run, verdicts = looked(platform, state, 122)
    assert (run.action, lost.state("fleet_lost").weight) == ("advance", 500)
    assert verdicts["edge"].reason.startswith("edge: not applicable")


def test_a_replica_that_stays_lost_ends_the_stage_at_its_deadline(make: Make) -> None:
    platform = make("fleet_gone")
    promoted(platform, "fleet_gone", 1)
    state = entered(platform, "fleet_gone")
    platform.fleet.replicas[1].up = False
    assert looked(platform, state, 3599)[0].action == "hold"
    run, _ = looked(platform, state, 3600)
    assert run.action == "rollback"
    assert "came to nothing" in run.reasons[0]


def test_a_step_that_one_replica_misses_is_undone_on_the_others(make: Make) -> None:
    model = "fleet_undone"
    platform = make(model)
    promoted(platform, model, 1)
    release = release_for(platform, model, 2, NOW)
    opened, (one, two) = rollout.start(platform, release, NOW), platform.fleet.replicas
    two.up = False
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.enter(platform, opened.id, 0, NOW)
    assert (one.state(model).challenger, one.state(model).weight) == (release, 0)  # loaded, asked by nobody
    two.up = True
    state = rollout.enter(platform, opened.id, 0, NOW)
    assert looked(platform, state, 61)[0].action == "advance"
    two.up = False
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.enter(platform, opened.id, 1, NOW)
    two.up = True
    assert [r.state(model).weight for r in (one, two)] == [500, 500]
    rollout.enter(platform, opened.id, 1, NOW)
    assert [r.state(model).weight for r in (one, two)] == [10_000, 10_000]


def test_an_abort_is_not_undone_by_a_step_that_fails(make: Make) -> None:
    model = "fleet_abort"
    platform = make(model)
    promoted(platform, model, 1)
    opened = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    one, two = platform.fleet.replicas

    @dataclass
    class Aborting(MemoryReplica):
        """A person aborts while this replica loads, and then it does not acknowledge."""

        def apply(self, route: Any, generation: int) -> Any:
            if route.challenger is not None:
                platform.fleet.replicas[1] = two
                rollout.abort(platform, model, "ann", "no", NOW)
                raise Unavailable("gateway-2 is slow")
            return super().apply(route, generation)

    platform.fleet.replicas[1] = Aborting("gateway-2", routes=two.routes)
    with pytest.raises(Unavailable):
        rollout.enter(platform, opened.id, 0, NOW)
    assert rollout.read(platform, opened.id).status == "rolled_back"
    assert [r.state(model).challenger for r in (one, two)] == [None, None]


@dataclass
class Other(MemoryReplica):
    """Answers a little differently, the first so many times."""

    times: int = 100

    def predict(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = super().predict(model, body)
        self.times -= 1
        off = 1e-4 if self.times >= 0 else 0.0
        return {"predictions": [one | {"probability": 0.5 + off} for one in answer["predictions"]]}


@pytest.mark.parametrize(("times", "action"), [(100, "rollback"), (2, "advance")])
def test_replicas_that_go_on_answering_differently_end_it(make: Make, times: int, action: str) -> None:
    model = f"fleet_other_{times}"
    platform = make(model)
    promoted(platform, model, 1)
    state = entered(platform, model)
    platform.fleet.replicas[1] = Other("gateway-2", routes=platform.fleet.replicas[1].routes, times=times)
    run, verdicts = looked(platform, state, 61)
    assert run.action == action
    assert verdicts["alike"].outcome is (FAILED if action == "rollback" else FINE)
    if action == "rollback":
        assert "0.500000 from replica 1, 0.500100 from replica 2" in verdicts["alike"].reason


@dataclass
class Stuck(Other):
    """Keeps the split that it has: it cannot write another one down."""

    def apply(self, route: Any, generation: int) -> Any:
        raise Unavailable(f"{self.name}: no space left on device, generation {generation}")


def test_a_replica_that_is_behind_holds_and_fails_no_release(make: Make) -> None:
    model = "fleet_behind"
    platform = make(model)
    promoted(platform, model, 1)
    before = dict(platform.fleet.replicas[1].routes)
    state = entered(platform, model)
    platform.fleet.replicas[1] = Stuck("gateway-2", routes=before)
    run, verdicts = looked(platform, state, 61)
    assert run.action == "hold"
    assert "gateway-2 is at generation" in verdicts["replicas"].reason
    assert verdicts["alike"].outcome is OPEN


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(tmp_path / "home", f"gateway-{n}", "--log-seconds", "0.1")) for n in (1, 2)]


@pytest.fixture
def edge(tmp_path: Path, replicas: list[Gateway]) -> Iterator[Edge]:
    with edge_before(tmp_path, [g.url for g in replicas]) as started:
        yield started


def test_real_replicas_behind_the_real_edge(
    tmp_path: Path, replicas: list[Gateway], edge: Edge, ledger_engine: Engine
) -> None:
    """One test, for real replicas take seconds to start; each part says what it is about."""
    fleet = GatewayFleet([g.url for g in replicas], replicas[0].home / "token", timeout=20)
    platform = FakePlatform(write_project(tmp_path, "delays"), PostgresLedger(ledger_engine), fleet)
    platform.predictions.now = NOW + timedelta(days=1)
    promoted(platform, "delays", 1)
    platform.edge = HttpEdge(edge.url, replicas[0].home / "token")
    state = entered(platform, "delays", onnx=graph(bias=0.001))

    # One replica is killed in the stage: users are answered, the stage holds and says why, and asks nobody in vain.
    replicas[1].kill()
    run, verdicts = looked(platform, state, 61)
    assert run.action == "hold"
    assert replicas[1].url in verdicts["replicas"].reason
    assert (verdicts["replicas"].outcome, verdicts["alike"].outcome, verdicts["edge"].outcome) == (OPEN, OPEN, OPEN)
    asked = httpx.post(f"{edge.url}/v1/models/delays/predict", json={"rows": [ROW]})
    assert asked.json()["predictions"][0]["version"] in (1, 2)

    # An edge through which the admin API can be reached is no edge: here a replica stands in its place.
    replicas[1].start()
    platform.edge = HttpEdge(replicas[0].url, replicas[0].home / "token")
    run, verdicts = looked(platform, state, 122)
    assert run.action == "hold"
    assert verdicts["alike"].outcome is FINE
    assert "the admin API answers 401 through the edge instead of 403 or 404" in verdicts["edge"].reason

    # All is well, and what was found is on record with the look that goes on.
    edge.wait_for_all(2)
    platform.edge = HttpEdge(edge.url, replicas[0].home / "token")
    run, verdicts = looked(platform, state, 183)
    assert {verdicts[check].outcome for check in ("replicas", "alike", "edge", "balance")} == {FINE}
    found = {m.name: m for m in run.measurements}
    assert found["replicas_alike"].n == 2
    assert "by the challenger" in found["replicas_alike"].evidence
    assert (found["edge_smoke"].value, found["edge_smoke"].n) == (0, 20)
    rows = sum(s.counts["champion"]["rows"] for s in fleet.state("delays").values())

    # A later look of the stage keeps the answers and puts no more questions to the replicas.
    state = rollout.read(platform, state.id)
    again = rollout.measure(platform, state, NOW + timedelta(seconds=244))
    assert [m for m in again if m.name.startswith(("replicas_", "edge"))] == [
        m for m in run.measurements if m.name.startswith(("replicas_", "edge"))
    ]
    assert sum(s.counts["champion"]["rows"] for s in fleet.state("delays").values()) == rows

    # Users' requests are spread by the edge; the log says by whom each was answered, and no question of ours is in it.
    platform.predictions = ParquetPredictions(tmp_path / "home" / "predictions")
    with httpx.Client(base_url=edge.url) as user:
        for number in range(200):
            row = {**ROW, "flight": f"user-{number}"}
            user.post("/v1/models/delays/predict", json={"rows": [row]}).raise_for_status()
    for _ in range(100):
        frame = platform.predictions.rollout("delays", state.id)
        if len(frame) == 201:  # with the one that was asked while a replica was away
            break
        time.sleep(0.05)
    least = {m.name: m for m in rollout.measure(platform, state, NOW + timedelta(seconds=305))}["least_share"]
    assert least.n == 201
    assert least.value is not None
    assert least.value >= LEAST_SHARE
