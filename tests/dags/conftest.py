"""The real machinery of Airflow, in processes of their own: neither its configuration nor its imports leak out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.database import PostgresServer

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
