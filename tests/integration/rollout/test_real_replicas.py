"""Promotion and the way back on real replicas, which are killed and started anew; the ledger is real too."""

from __future__ import annotations

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
from typer.testing import CliRunner

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.cli import app, session
from modelyard.core.errors import Unavailable
from modelyard.flows import rollout

MODEL = "delays"


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(tmp_path / "home", f"gateway-{n}")) for n in (1, 2)]


@pytest.fixture
def platform(tmp_path: Path, replicas: list[Gateway], ledger_engine: Engine) -> FakePlatform:
    """Version 1 is champion on two real replicas."""
    fleet = GatewayFleet([g.url for g in replicas], replicas[0].home / "token", timeout=20)
    made = FakePlatform(write_project(tmp_path, MODEL), PostgresLedger(ledger_engine), fleet)
    made.predictions.now = NOW + timedelta(days=1)
    promoted(made, MODEL, 1)
    return made


def versions(replicas: list[Gateway]) -> list[int]:
    """Who answers on each replica."""
    return [g.predict(MODEL, rows=[ROW]).json()["predictions"][0]["version"] for g in replicas]


def test_killed_replicas_come_back_to_what_they_acknowledged(
    platform: FakePlatform, replicas: list[Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, for real replicas take seconds to start; each part says what it is about."""
    ledger, (one, two) = platform.ledger, replicas

    # A promotion that one replica never hears of is not recorded, and can be called off.
    release = release_for(platform, MODEL, 2, NOW, onnx=graph(bias=0.001))
    opened = rollout.enter(platform, rollout.start(platform, release, NOW).id, 0, NOW)
    two.kill()
    with pytest.raises(Unavailable, match=two.url):
        rollout.promote(platform, opened.id, NOW, by="ann", why="a test")
    assert ledger.releases.champion(MODEL).version == 1
    one.kill()
    one.start()
    assert versions([one]) == [2]  # what it acknowledged last
    two.start()
    assert two.state(MODEL)["weight"] == 500  # it still has the canary's split
    assert rollout.abort(platform, MODEL, "ann", "no", NOW).status == "rolled_back"
    assert versions(replicas) == [1, 1]

    # A promotion ends where every replica has been seen to answer.
    third = release_for(platform, MODEL, 3, NOW, onnx=graph(bias=0.001))
    opened = rollout.enter(platform, rollout.start(platform, third, NOW).id, 0, NOW)
    assert rollout.promote(platform, opened.id, NOW, by="ann", why="a test").status == "promoted"
    assert ledger.releases.champion(MODEL).version == 3
    assert versions(replicas) == [3, 3]

    # The way back, from the command line, with a replica that dies and comes back in between.
    monkeypatch.setattr(session, "platform", lambda: platform)
    command = ["rollout", "revert", MODEL, "--by", "ann", "--why", "answers are wrong"]
    two.kill()
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 1
    assert two.url in failed.stderr
    assert versions([one]) == [1]
    two.start()
    assert versions([two]) == [3]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "version 1: promoted in place of version 3: reverted by ann: answers are wrong" in " ".join(
        done.stdout.split()
    )
    assert versions(replicas) == [1, 1]
    assert ledger.releases.state(third) == "quarantined"
    repeated = CliRunner().invoke(app, command)
    assert repeated.exit_code == 0
    assert ledger.releases.champion(MODEL).version == 1
