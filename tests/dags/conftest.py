"""The real machinery of Airflow, in processes of their own: neither its configuration nor its imports leak out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fixtures.database import PostgresServer
from fixtures.gateways import Gateway, running
from fixtures.platforms import MODEL_YAML, FakePlatform

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.config.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Airflow:
    """How to run a program that imports Airflow."""

    home: Path
    env: Mapping[str, str]

    def given(self, **env: str) -> Airflow:
        """The same with other variables."""
        return replace(self, env={**self.env, **env})

    def run(self, program: str, *arguments: str) -> Any:
        """Run a program; returns the JSON that it printed last."""
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False, timeout=300)
        print(done.stdout[-6000:], done.stderr[-6000:])  # pytest shows it when the test fails
        assert done.returncode == 0
        return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow on the repository's DAGs and plugins, without a database."""
    home = tmp_path_factory.mktemp("airflow")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "MODELYARD", "COV_"))}
    return Airflow(
        home,
        {
            **kept,
            "PYTHONWARNINGS": "ignore",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "MODELYARD_ROOT": str(ROOT),
            "MODELYARD_HOME": str(home / "home"),
            "MODELYARD_PROFILE": "demo",
        },
    )


@pytest.fixture(scope="session")
def migrated(airflow: Airflow, postgres_server: PostgresServer) -> Airflow:
    """The same on a real database that Airflow has migrated."""
    url = postgres_server.fresh("airflow").replace("+psycopg:", "+psycopg2:")
    ready = airflow.given(AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=url)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=ready.env, capture_output=True, check=True, timeout=300)
    return ready


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
        _versions(mlflow_uri, root, 6)
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
