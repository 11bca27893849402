"""kill -9 of the process that leads a rollout, in the middle of a step: one replica follows already, the other not yet.

Real replicas, a real ledger, and a real process that is killed. Whoever takes the same step again ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from fixtures.bundles import ROW, graph
from fixtures.gateways import Gateway, running
from fixtures.platforms import FakePlatform, release_for, write_project
from fixtures.rollout_drive import NOW, promoted
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.flows import rollout

MODEL = "steps"
STEPS = {
    "enter": "rollout.enter(platform, opened, 0, NOW)",
    "promote": "rollout.promote(platform, opened, NOW, by='ann', why='a test')",
    "revert": "rollout.revert(platform, MODEL, 'ann', 'a test', NOW)",
}
PROGRAM = """
import os, signal, sys
from pathlib import Path
from fixtures.platforms import FakePlatform, write_project
from fixtures.rollout_drive import NOW
from sqlalchemy import create_engine
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.flows import rollout

class Dying(GatewayFleet):
    def apply(self, route, generation):
        GatewayFleet(self._urls[:1], self._token_file).apply(route, generation)
        os.kill(os.getpid(), signal.SIGKILL)

MODEL, root, database, token, *urls = sys.argv[1:]
platform = FakePlatform(write_project(Path(root), MODEL), PostgresLedger(create_engine(database)), Dying(urls, token))
opened = platform.ledger.rollouts.current(MODEL)
"""


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(tmp_path / "home", f"gateway-{n}")) for n in (1, 2)]


@pytest.fixture
def platform(tmp_path: Path, replicas: list[Gateway], ledger_engine: Engine) -> FakePlatform:
    """Version 1 is champion on two real replicas."""
    fleet = GatewayFleet([g.url for g in replicas], replicas[0].home / "token", timeout=60)
    made = FakePlatform(write_project(tmp_path, MODEL), PostgresLedger(ledger_engine), fleet)
    made.predictions.now = NOW + timedelta(days=1)
    promoted(made, MODEL, 1)
    return made


def kill_in(step: str, platform: FakePlatform, engine: Engine, replicas: list[Gateway]) -> None:
    """Let a process take the step, which is killed once the first replica follows."""
    arguments = [MODEL, str(platform.settings.root), engine.url.render_as_string(hide_password=False)]
    arguments += [str(replicas[0].home / "token"), *(g.url for g in replicas)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM + STEPS[step], *arguments]
    died = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr[-3000:]


def versions(replicas: list[Gateway]) -> list[int]:
    return [g.predict(MODEL, rows=[ROW]).json()["predictions"][0]["version"] for g in replicas]


def test_what_it_had_begun_is_ended_by_whoever_does_the_same_again(
    platform: FakePlatform, replicas: list[Gateway], ledger_engine: Engine
) -> None:
    """One test, for real replicas take seconds to start; each part says what it is about."""
    ledger = platform.ledger
    release = release_for(platform, MODEL, 2, NOW, onnx=graph(bias=0.001))
    opened = rollout.start(platform, release, NOW)

    # A stage: it is not counted as entered, users are answered, and the same again enters it.
    kill_in("enter", platform, ledger_engine, replicas)
    assert [g.state(MODEL)["weight"] for g in replicas] == [500, 0]
    state = rollout.read(platform, opened.id)
    assert (state.status, state.stage, state.entering) == ("pending", -1, 0)
    state = rollout.enter(platform, opened.id, 0, NOW)
    assert (state.status, state.stage) == ("running", 0)
    assert [g.state(MODEL)["weight"] for g in replicas] == [500, 500]

    # A promotion: nobody is crowned by it, the same again crowns.
    kill_in("promote", platform, ledger_engine, replicas)
    assert versions(replicas) == [2, 1]
    assert rollout.read(platform, opened.id).status == "promoting"
    assert ledger.releases.champion(MODEL).version == 1
    assert rollout.promote(platform, opened.id, NOW, by="ann", why="a test").status == "promoted"
    assert (ledger.releases.champion(MODEL).version, versions(replicas)) == (2, [2, 2])

    # A revert: the same.
    kill_in("revert", platform, ledger_engine, replicas)
    assert versions(replicas) == [1, 2]
    assert (ledger.releases.champion(MODEL).version, ledger.releases.state(release)) == (2, "ready")
    assert rollout.revert(platform, MODEL, "ann", "a test", NOW).status == "promoted"
    assert (ledger.releases.champion(MODEL).version, versions(replicas)) == (1, [1, 1])
    assert ledger.releases.state(release) == "quarantined"
    generation, _ = ledger.rollouts.route(MODEL)
    assert {s.generation for s in platform.fleet.state(MODEL).values()} == {generation}
