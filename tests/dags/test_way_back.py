"""The DAG of the way back, through ``dag.test()``: real flows on a real ledger, a real gateway and a real MLflow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from fixtures.bundles import ROW, graph
from fixtures.platforms import release_for

from modelyard.config.settings import Settings
from modelyard.flows import drill as drills
from modelyard.flows import rollout
from modelyard.wiring import connect

from .conftest import MODEL, PROGRAM, ROOT, Stage

KILLED = f"""
import os, signal
from modelyard.flows import drill
# As kill -9 does, once the earlier champion answers everywhere and before anything is done about it.
drill._forward = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
{PROGRAM}
"""
SEVERAL = """
import json, sys
from datetime import timedelta
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import timezone
dag = DagBag(sys.argv[1]).dags[sys.argv[2]]
runs = []
for conf, hours_ago in json.loads(sys.argv[3]):
    run = dag.test(run_after=timezone.utcnow() - timedelta(hours=hours_ago), run_conf=conf)
    runs.append({ti.task_id: str(ti.state) for ti in run.get_task_instances()})
print(json.dumps(runs))
"""
ARGUMENTS = [str(ROOT / "dags" / "way_back.py"), f"{MODEL}__way_back"]
REVERT = {"do": "revert", "why": "hours for minutes"}


def crown(stage: Stage, version: int) -> str:
    here = connect(Settings.from_env(stage.airflow.env))
    release = release_for(stage.platform, MODEL, version, datetime.now(UTC), onnx=graph(bias=version / 1000))
    opened = rollout.start(here, release, datetime.now(UTC))
    rollout.enter(here, opened.id, 0, datetime.now(UTC))
    assert rollout.promote(here, opened.id, datetime.now(UTC), by="ann", why="a test").status == "promoted"
    return release


def answering(stage: Stage) -> int:
    version: int = stage.gateway.predict(MODEL, rows=[ROW]).json()["predictions"][0]["version"]
    return version


def way_back(stage: Stage, *runs: tuple[dict[str, Any], float]) -> list[tuple[str, str]]:
    """Run the DAG with each of these, as if asked for so many hours ago; what became of (drill, revert)."""
    found = stage.airflow.run(SEVERAL, *ARGUMENTS, json.dumps(runs))
    return [(tasks["drill"], tasks["revert"]) for tasks in found]


def open_incidents(stage: Stage) -> list[str]:
    found = stage.platform.ledger.journal.incidents(MODEL, open_only=True)
    return [incident.title for _, _, incident in found if incident.key.startswith("drill")]


def test_there_and_back_and_for_good(stage: Stage) -> None:
    """One test, for Airflow takes long to start; each part says what it is about."""
    ledger = stage.platform.ledger
    first, second = crown(stage, 1), crown(stage, 2)

    # A drill, as the calendar has it; a revert wants a reason; one that was asked for before this champion was crowned
    # is not about it.
    drilled, without, stale = way_back(stage, ({}, 0), ({"do": "revert"}, 0), (REVERT, 1))
    assert drilled == ("success", "skipped")
    assert (without[0], stale[0]) == ("skipped", "skipped")
    assert "success" not in (without[1], stale[1])
    assert [(e.action, e.actor) for e in drills.drills(stage.platform, MODEL)] == [(drills.DONE, "dag_test")]
    assert (ledger.releases.champion(MODEL).digest, answering(stage)) == (second, 2)

    # Killed half way the earlier champion answers, and an incident says so.
    command = [sys.executable, "-c", KILLED, *ARGUMENTS, "{}", "1"]
    died = subprocess.run(command, env=stage.airflow.env, capture_output=True, check=False, timeout=300)
    assert died.returncode == -signal.SIGKILL, died.stderr[-3000:]
    assert answering(stage) == 1
    assert open_incidents(stage) == [f"{MODEL}: version 1 may be answering instead of 2"]

    # The same again ends it forward. A revert by hand, and once more: the same. Then there is nothing to drill.
    ended, once, again, nothing = way_back(stage, ({}, 0), (REVERT, 0), (REVERT, 0), ({"do": "drill"}, 0))
    assert (ended, once, again) == (("success", "skipped"), ("skipped", "success"), ("skipped", "success"))
    assert nothing == ("skipped", "skipped")
    assert [e.action for e in drills.drills(stage.platform, MODEL)] == [drills.DONE, drills.FINISHED]
    assert open_incidents(stage) == []
    assert answering(stage) == 1
    assert (ledger.releases.champion(MODEL).digest, ledger.releases.state(second)) == (first, "quarantined")
    assert [body["strategy"] for body in ledger.rollouts.history(MODEL)].count("revert") == 1
