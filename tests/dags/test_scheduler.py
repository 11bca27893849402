"""What only the real scheduler can show: a restart in the middle of a stage, and who may answer an approval."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fixtures.platforms import release_for

from modelyard.core.errors import Unavailable
from modelyard.demo.airflow_api import AirflowUser, Question
from modelyard.runtime.sockets import free_port

from .conftest import MODEL, ROOT, Airflow, Stage

T = TypeVar("T")
PEOPLE = {"admin": "admin", "demo-approver-1": "user", "demo-approver-2": "user", "visitor": "viewer"}
PATIENCE = 240
STAGE_SECONDS = 35
"""Longer than ``stages.SHORT_SECONDS``: the stage is deferred, not waited out in its task."""
READING_SECONDS = 8
"""People read before they answer; Airflow 3.3 may lose an answer that comes before the asking worker has ended."""
ASK = """
from airflow.sdk import DAG, Param
from modelyard_airflow.approvals import PersonApproval
from modelyard_airflow.tasks import common

with DAG("{model}__ask", schedule=None, params={{"release": Param(""), "decision": Param("")}}, **common("{model}")):
    about = {{"model": "{model}", "release": "{{{{ params.release }}}}", "decision": "{{{{ params.decision }}}}"}}
    first = PersonApproval(task_id="approval_1", seat=1, **about)
    first >> PersonApproval(task_id="approval_2", seat=2, **about)
"""


def until(found: Callable[[], T], what: str) -> T:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.3)
    return value


class Scheduler:
    """Airflow's processes, each killed and started by itself."""

    def __init__(self, airflow: Airflow, folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._passwords = {name: f"password-of-{name}" for name in PEOPLE}
        (folder / "passwords.json").write_text(json.dumps(self._passwords))
        self._logs = folder
        self._airflow = airflow.given(
            AIRFLOW__API__PORT=str(self._port),
            AIRFLOW__API__HOST="127.0.0.1",
            AIRFLOW__API__WORKERS="1",
            AIRFLOW__API__BASE_URL=self.url,
            AIRFLOW__API__SECRET_KEY="s" * 32,
            AIRFLOW__API_AUTH__JWT_SECRET="j" * 64,
            AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{self.url}/execution/",
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW__CORE__PARALLELISM="2",
            AIRFLOW__CORE__DAGS_FOLDER=str(folder / "dags"),
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=",".join(f"{n}:{role}" for n, role in PEOPLE.items()),
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(folder / "passwords.json"),
            AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(free_port()),
            AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=str(free_port()),
            AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.1",
            AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD="10",
            AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD="10",
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *components: str) -> None:
        for name in components:
            with (self._logs / f"{name}.log").open("ab") as log:
                command = [sys.executable, "-m", "airflow", name]
                env = dict(self._airflow.env)
                started = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
            self._processes[name] = started

    def kill(self, *components: str) -> None:
        """As a machine that loses power does: the process and all its children."""
        for name in components:
            process = self._processes.pop(name)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def user(self, name: str = "admin") -> AirflowUser:
        return AirflowUser(self.url, name, self._passwords[name])

    def stop(self) -> None:
        self.kill(*list(self._processes))


@pytest.fixture(scope="module")
def scheduler(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    folder = tmp_path_factory.mktemp("scheduler")
    policies = folder / "policies"
    shutil.copytree(ROOT / "policies", policies)
    text = (policies / "rollout.yaml").read_text()
    only = f"min_seconds: {STAGE_SECONDS}, max_seconds: 600, min_rows: 100, error_ratio: 2.0, latency_p95_ratio: 2.0"
    demo = f"  demo:\n    look_every_seconds: {STAGE_SECONDS}\n    stages:\n      - {{weight: 100, {only}}}\n"
    (policies / "rollout.yaml").write_text(text.partition("profiles:\n")[0] + "profiles:\n" + demo)
    (folder / "dags").mkdir()
    shutil.copy(ROOT / "dags" / "rollout.py", folder / "dags")
    (folder / "dags" / "ask.py").write_text(ASK.format(model=MODEL))
    made = Scheduler(stage.airflow.given(MODELYARD_POLICIES=str(policies)), folder)
    try:
        made.start("api-server")
        until(made.ready, "Airflow's API")
        made.start("scheduler", "dag-processor", "triggerer")
        admin = made.user()
        until(lambda: admin.knows(f"{MODEL}__rollout") and admin.knows(f"{MODEL}__ask"), "the DAGs")
        yield made
    finally:
        made.stop()


def test_a_rollout_survives_the_death_of_scheduler_and_triggerer_in_the_middle_of_a_stage(
    stage: Stage, scheduler: Scheduler
) -> None:
    admin, release = scheduler.user(), release_for(stage.platform, MODEL, 1, datetime.now(UTC))
    run = admin.trigger(f"{MODEL}__rollout", "first", {"release": release})
    until(lambda: admin.tasks(run).get("stage_0") == "deferred", "the stage to wait")
    (before,) = stage.platform.ledger.rollouts.history(MODEL)
    scheduler.kill("scheduler", "triggerer")
    scheduler.start("scheduler", "triggerer")
    ended = until(lambda: (r := admin.run(run.dag_id, run.dag_run_id)) and r.ended and r, "the rollout's end")
    assert ended.state == "success"
    (after,) = stage.platform.ledger.rollouts.history(MODEL)
    assert (before["status"], after["status"]) == ("running", "promoted")
    # The stage was neither entered again nor cut short.
    assert [e for e in after["events"] if e["kind"] == "entered"] == [
        e for e in before["events"] if e["kind"] == "entered"
    ]
    entered = datetime.fromisoformat(after["entered_at"])
    assert (datetime.fromisoformat(after["decided_at"]) - entered).total_seconds() >= STAGE_SECONDS
    champion = stage.platform.ledger.releases.champion(MODEL)
    assert champion is not None
    assert champion.digest == release


def asked(admin: AirflowUser, task: str) -> Question:
    def find() -> Any:
        return next((q for q in admin.questions(f"{MODEL}__ask") if q.task_id == task), None)

    question: Question = until(find, f"the question {task}")
    time.sleep(READING_SECONDS)
    return question


def test_two_distinct_people_answer_and_nobody_else_can(stage: Stage, scheduler: Scheduler) -> None:
    ledger = stage.platform.ledger
    release = release_for(stage.platform, MODEL, 2, datetime.now(UTC), approve=False)
    gates = ledger.journal.decisions(MODEL, "gates", release)[-1]
    starter = scheduler.user()
    conf = {"release": release, "decision": gates.digest}
    run = starter.trigger(f"{MODEL}__ask", "ask", conf)
    first = asked(starter, "approval_1")
    assert first.people == ("demo-approver-1", "demo-approver-2")
    for name in ("admin", "visitor"):  # who started the run, and who may only look
        with pytest.raises(Unavailable, match="403"):
            scheduler.user(name).answer(first, "Approve", "")
    assert scheduler.user("demo-approver-2").answer(first, "Approve", "read it")
    assert not scheduler.user("demo-approver-2").answer(first, "Reject", "changed my mind")
    second = asked(starter, "approval_2")
    assert second.people == ("demo-approver-1",)
    with pytest.raises(Unavailable, match="403"):
        scheduler.user("demo-approver-2").answer(second, "Approve", "")
    assert scheduler.user("demo-approver-1").answer(second, "Reject", "not yet")
    until(lambda: (r := starter.run(run.dag_id, run.dag_run_id)) and r.ended, "the run's end")
    kept = ledger.journal.approvals(release)
    assert [(a.by, a.answer, a.comment, a.decision) for a in kept] == [
        ("demo-approver-2", "approve", "read it", gates.digest),
        ("demo-approver-1", "reject", "not yet", gates.digest),
    ]
