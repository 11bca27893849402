"""Real replicas that hang while a rollout goes on; the ledger is real too."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.bundles import ROW, graph, write_bundle_of
from fixtures.gateways import Gateway, running
from fixtures.platforms import FakePlatform, release_for, write_project
from fixtures.rollout_drive import NOW, promoted
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.core.errors import Unavailable
from modelyard.core.verdict import Verdict
from modelyard.flows import rollout
from modelyard.flows.drill import drill
from modelyard.ports.fleet import Arm, Route
from modelyard.serving.loading import KEPT

FOR_EVER = 100_000.0
"""How long a version may load here: a test that waited for a hung replica to load would not end."""


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(tmp_path / "home", f"gateway-{n}")) for n in (1, 2)]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model for each test: they share a ledger."""
    return str(request.node.name).removeprefix("test_")[:40]


@pytest.fixture
def platform(tmp_path: Path, replicas: list[Gateway], ledger_engine: Engine, model: str) -> FakePlatform:
    """Version 2 is champion on two real replicas, version 1 was before it."""
    fleet = GatewayFleet([g.url for g in replicas], replicas[0].home / "token", timeout=FOR_EVER, silence=2.0)
    made = FakePlatform(write_project(tmp_path, model), PostgresLedger(ledger_engine), fleet)
    made.predictions.now = NOW + timedelta(days=1)
    promoted(made, model, 1)
    opened = rollout.start(made, release_for(made, model, 2, NOW, onnx=graph(bias=0.001)), NOW)
    rollout.enter(made, opened.id, 0, NOW)
    assert rollout.promote(made, opened.id, NOW, by="ann", why="a test").status == "promoted"
    return made


def versions(model: str, replicas: list[Gateway]) -> list[int]:
    return [g.predict(model, rows=[ROW]).json()["predictions"][0]["version"] for g in replicas]


def weights(model: str, replicas: list[Gateway]) -> list[int]:
    return [g.state(model)["weight"] for g in replicas]


def said(platform: FakePlatform, name: str) -> Verdict:
    """What the last look says of the replicas."""
    return next(v for v in platform.ledger.rollouts.looks(name)[-1].verdicts if v.check == "replicas")


def send(gateway: Gateway, what: signal.Signals) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(what)


def test_a_replica_that_hangs_costs_a_rollout_seconds_and_nobody_an_answer(
    platform: FakePlatform, replicas: list[Gateway], model: str
) -> None:
    """One test, for real replicas take seconds to start; each part says what it is about."""
    one, two = replicas
    release = release_for(platform, model, 3, NOW, onnx=graph(bias=0.001))
    opened = rollout.start(platform, release, NOW)

    # A step that it misses is undone on the other: both answer with the champion, and it wakes up to nothing else.
    send(two, signal.SIGSTOP)
    with pytest.raises(Unavailable, match=two.url):
        rollout.enter(platform, opened.id, 0, NOW)
    assert one.state(model)["weight"] == 0
    send(two, signal.SIGCONT)
    state = rollout.enter(platform, opened.id, 0, NOW)
    assert weights(model, replicas) == [500, 500]

    # A look names it, holds, and the other replica goes on with the split.
    send(two, signal.SIGSTOP)
    state = rollout.look(platform, state.id, NOW + timedelta(seconds=61))
    assert state.action == "hold"
    assert two.url in said(platform, state.id).reason
    assert weights(model, [one]) == [500]
    assert one.predict(model, rows=[ROW]).status_code == 200
    send(two, signal.SIGCONT)
    state = rollout.look(platform, state.id, NOW + timedelta(seconds=122))
    assert said(platform, state.id).reason == "2 of 2 replicas follow the split"

    # An abort gives the traffic back where it can, and everywhere once the replica is back.
    send(two, signal.SIGSTOP)
    with pytest.raises(Unavailable, match=two.url):
        rollout.abort(platform, model, "ann", "no", NOW)
    assert one.state(model)["challenger"] is None
    send(two, signal.SIGCONT)
    assert rollout.abort(platform, model, "ann", "no", NOW).status == "rolled_back"
    assert versions(model, replicas) == [2, 2]

    # The way back, rehearsed on processes.
    done = drill(platform, model, "ann", lambda: NOW)
    assert "back to version 1" in done.reason
    assert versions(model, replicas) == [2, 2]
    assert {s.generation for s in platform.fleet.state(model).values()} == {platform.ledger.rollouts.route(model)[0]}


def test_the_way_back_is_kept_loaded(
    platform: FakePlatform, replicas: list[Gateway], model: str, tmp_path: Path
) -> None:
    """Each replica goes back to the champion before without reading a file: its bundle is gone.

    Although one was killed since, and although each has loaded more versions since than it keeps by their number.
    """
    second, now = platform.ledger.releases.by_version(model, 2), datetime.now(UTC)
    arm = Arm(release=second.digest, version=2, bundle=platform.ledger.releases.bundle(second.digest))
    third = rollout.start(platform, release_for(platform, model, 3, now, onnx=graph(bias=0.002)), now)
    rollout.enter(platform, third.id, 0, now)
    rollout.promote(platform, third.id, now, by="ann", why="a test")
    replicas[0].kill()
    replicas[0].start()
    for number in range(KEPT + 1):
        other = write_bundle_of(tmp_path / f"other-{number}", model=f"other_{number}", onnx=graph(bias=number / 10))[1]
        platform.fleet.apply(Route(model=f"other_{number}", champion=other), 1)
    shutil.rmtree(platform.settings.root / "bundles" / f"{model}-2")
    assert {s.warm for s in platform.fleet.state(model).values()} == {second.digest}
    generation, _ = platform.ledger.rollouts.route(model)
    states = platform.fleet.apply(Route(model=model, champion=arm), generation + 1)
    assert {s.champion for s in states.values()} == {second.digest}
    assert versions(model, replicas) == [2, 2]
