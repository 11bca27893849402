"""DAG runs through ``dag.test()``: real flows on a real ledger, a real gateway and a real MLflow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fixtures.bundles import ROW, graph
from fixtures.gateways import Gateway, running
from fixtures.platforms import MODEL_YAML, FakePlatform, release_for

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.config.settings import Settings

from .conftest import ROOT, Airflow

if TYPE_CHECKING:
    from sqlalchemy import Engine

MODEL = "delays"
PROGRAM = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
name, conf, times = sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
dag = DagBag(sys.argv[1]).dags[name]
runs = [dag.test(run_conf=conf) for _ in range(times)]
print(json.dumps([
    {"state": str(run.state), "tasks": {ti.task_id: str(ti.state) for ti in run.get_task_instances()}} for run in runs
]))
"""


@dataclass(frozen=True)
class Stage:
    """Everything that a run meets."""

    airflow: Airflow
    platform: FakePlatform
    gateway: Gateway

    def run(self, loop: str, *, times: int = 1, **conf: Any) -> list[dict[str, Any]]:
        """Run a DAG of the model to its end, as often as asked."""
        names = {"monitor": "drift_monitor", "retrain": "retraining"}
        file = ROOT / "dags" / f"{names.get(loop, loop)}.py"
        found: list[dict[str, Any]] = self.airflow.run(
            PROGRAM, str(file), f"{MODEL}__{loop}", json.dumps(conf), str(times)
        )
        return found


def skipped(run: dict[str, Any]) -> set[str]:
    """The tasks that were skipped."""
    return {task for task, state in run["tasks"].items() if state == "skipped"}


@pytest.fixture(scope="module")
def stage(
    migrated: Airflow, ledger_engine: Engine, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("platform")
    for name in (MODEL, "flight_delay"):
        (root / "projects" / name).mkdir(parents=True)
        (root / "projects" / name / "model.yaml").write_text(MODEL_YAML.format(name=name))
        (root / "projects" / name / "params.yaml").write_text(f"{name}: {{}}\n")
    with running(root / "home") as gateway:
        env = {
            "MODELYARD_PROJECTS": str(root / "projects"),
            "MODELYARD_HOME": str(root / "home"),
            "MODELYARD_DATABASE_URL": ledger_engine.url.render_as_string(hide_password=False),
            "MODELYARD_GATEWAY_URLS": gateway.url,
            "MODELYARD_ADMIN_TOKEN_FILE": str(gateway.home / "token"),
            "MODELYARD_MLFLOW_URI": mlflow_uri,
        }
        settings = Settings.from_env({"MODELYARD_ROOT": str(root), **env})
        _versions(mlflow_uri, root, 3)
        yield Stage(migrated.given(**env), FakePlatform(settings, PostgresLedger(ledger_engine)), gateway)


def _versions(uri: str, root: Path, count: int) -> None:
    """Versions in MLflow for the aliases to point at."""
    from modelyard.adapters.mlflow_tracking import MlflowTracking

    tracking = MlflowTracking(uri)
    (root / "empty").mkdir()
    (root / "empty" / "manifest.json").write_text("{}")
    for number in range(count):
        with tracking.start(MODEL, f"run {number}", {}) as run:
            tracking.register(MODEL, run.id, root / "empty", {})


class Users:
    """Requests without a pause, until told to stop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._done = gateway, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: list[int] = []

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._done.wait(0.01):
            number += 1
            far = ROW | {"flight": f"UA{number}", "distance": 8000.0}  # where the broken version fails
            self.statuses.append(self._gateway.predict(MODEL, rows=[far]).status_code)


def test_nothing_is_checked_while_there_is_no_champion(stage: Stage) -> None:
    (found,) = stage.run("monitor", as_of="2013-04-10T00:00:00+00:00")
    assert found["state"] == "success"
    assert set(found["tasks"].values()) == {"skipped"}


def test_a_first_release_goes_live_and_a_second_run_changes_nothing(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, 1, datetime.now(UTC))
    first, second = stage.run("rollout", times=2, release=release)
    assert first["state"] == second["state"] == "success"
    assert skipped(first) == {"stage_1", "stage_2", "stage_3", "roll_back"}
    assert skipped(second) == {"stage_0", *skipped(first)}
    champion = stage.platform.ledger.releases.champion(MODEL)
    assert champion is not None
    assert champion.digest == release
    answer = stage.gateway.predict(MODEL, rows=[ROW]).json()["predictions"][0]
    assert (answer["version"], answer["variant"]) == (1, "champion")
    assert [body["status"] for body in stage.platform.ledger.rollouts.history(MODEL)] == ["promoted"]


def test_a_version_that_fails_under_traffic_is_rolled_back_and_nobody_notices(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, 2, datetime.now(UTC), onnx=graph(fault="raise"))
    with Users(stage.gateway) as users:
        (found,) = stage.run("rollout", release=release)
    assert found["state"] == "success"
    assert found["tasks"]["roll_back"] == "success"
    assert skipped(found) == {"stage_1", "stage_2", "stage_3", "promote"}
    ledger = stage.platform.ledger
    assert ledger.releases.state(release) == "quarantined"
    champion = ledger.releases.champion(MODEL)
    assert champion is not None
    assert champion.version == 1
    assert set(users.statuses) == {200}


def test_a_release_that_nobody_approved_fails_with_a_message(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, 3, datetime.now(UTC), approve=False)
    (found,) = stage.run("rollout", release=release)
    assert found["state"] == "failed"
    assert found["tasks"]["start"] == "failed"
    assert found["tasks"]["stage_0"] == "upstream_failed"
