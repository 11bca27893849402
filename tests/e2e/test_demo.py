"""A slice of the demo as a user runs it: the command, the real Airflow scheduler, MLflow, Feast, two gateways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.runtime.sockets import free_port

ROOT = Path(__file__).resolve().parents[2]
MODELYARD = Path(sys.executable).parent / "modelyard"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


class Installation:
    """An installation of the test's own, on free ports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        foreign = ("MODELYARD_", "AIRFLOW", "FEAST_", "MLFLOW_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        ports = {name: str(free_port()) for name in ("POSTGRES", "MLFLOW", "AIRFLOW", "GATEWAY")}
        ours = {"ROOT": str(ROOT), "HOME": str(home), "GATEWAY_REPLICAS": "1"}
        ours |= {f"PORT_{name}": port for name, port in ports.items()}
        self.env = kept | {f"MODELYARD_{key}": value for key, value in ours.items()}

    def run(self, *arguments: str) -> str:
        """Run the command; fails with all that it printed."""
        done = subprocess.run(
            [MODELYARD, *arguments], env=self.env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What a reading command says."""
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The demo up to its first rollout; stopped at the end, whatever happened."""
    made = Installation(tmp_path_factory.mktemp("home"))
    try:
        made.run("demo", "--until", "first rollout")
        yield made
    finally:
        subprocess.run([MODELYARD, "down"], env=made.env, cwd=ROOT, check=False, timeout=120)


def test_two_distinct_people_approved_the_first_champion(installation: Installation) -> None:
    summary = json.loads((installation.home / "demo" / "summary.json").read_text())
    assert summary["champion"]["version"] == 1
    assert summary["champion"]["semver"] == "1.0.0"
    assert {a["who"] for a in summary["approvals"]} == {"demo-approver-1", "demo-approver-2"}
    assert not any(a["automatic"] for a in summary["approvals"])
    (rollout,) = summary["rollouts"]
    assert rollout["outcome"] == "promoted"
    assert summary["requests_failed"] == 0


def test_every_decision_is_on_record_with_its_evidence(installation: Installation) -> None:
    decisions = installation.json("decisions", "flight_delay")
    assert {"validation", "gates", "governance", "rollout"} <= {d["kind"] for d in decisions}
    assert all(d["reasons"] and d["policy"].startswith("sha256:") for d in decisions)
    release = installation.json("status")["flight_delay"]["champion"]["release"]
    concluded = [d for d in decisions if d["kind"] == "governance" and d["action"] == "approve"]
    assert [d["subject"] for d in concluded] == [release]


def test_the_champion_answers(installation: Installation) -> None:
    answer = installation.json("predict", "flight_delay", "--example")
    assert (answer["version"], answer["variant"]) == (1, "champion")
    assert all(0 < p["probability"] < 1 for p in answer["predictions"])


def test_a_second_run_finds_everything_done(installation: Installation) -> None:
    before = installation.json("releases", "flight_delay")
    installation.run("demo", "--until", "first rollout")
    assert installation.json("releases", "flight_delay") == before


def test_traffic_is_replayed_logged_and_checked(installation: Installation) -> None:
    replayed = installation.json("replay", "flight_delay", "--hours", "24")
    assert replayed["failed"] == 0
    assert replayed["sent"]["predict"] > 300
    check = installation.json("drift", "check", "flight_delay")
    assert check["action"] in ("nothing", "watch")
