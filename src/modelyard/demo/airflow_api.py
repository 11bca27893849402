"""Airflow as one of its users sees it: through the REST API, with a token of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict

from modelyard.core.errors import NotFound, Unavailable

ENDED = frozenset({"success", "failed"})
_TRANSPORT_RETRIES = 3


class DagRun(BaseModel):
    """One run of a DAG."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dag_id: str
    dag_run_id: str
    state: str
    run_type: str
    run_after: datetime
    start_date: datetime | None = None
    end_date: datetime | None = None
    conf: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen in it."""
        return self.state in ENDED


class Question(BaseModel):
    """A question that waits for a person."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    subject: str
    people: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where the question is answered in the API."""
        return (
            f"/dags/{self.dag_id}/dagRuns/{self.dag_run_id}/taskInstances/{self.task_id}/{self.map_index}/hitlDetails"
        )

    @property
    def page(self) -> str:
        """Where a person answers it in the UI."""
        return f"/dags/{self.dag_id}/runs/{self.dag_run_id}/tasks/{self.task_id}/required_actions"


class AirflowUser:
    """One user's session. A token that has run out is replaced once; a call that cannot reach Airflow is repeated."""

    def __init__(
        self,
        url: str,
        name: str,
        password: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, self._password, self._sleep = name, password, sleep
        self._http = httpx.Client(base_url=url, timeout=60, transport=transport)
        self._token = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def run(self, dag: str, run_id: str) -> DagRun | None:
        """The run, or None."""
        answer = self._call("GET", f"/dags/{dag}/dagRuns/{run_id}", missing_ok=True)
        return None if answer is None else DagRun.model_validate(answer)

    def runs(self, dag: str) -> list[DagRun]:
        """The newest hundred runs of a DAG, oldest first."""
        answer = self._call("GET", f"/dags/{dag}/dagRuns", params={"order_by": "-run_after", "limit": 100})
        return [DagRun.model_validate(run) for run in reversed(answer["dag_runs"])]

    def trigger(self, dag: str, run_id: str, conf: Mapping[str, Any]) -> DagRun:
        """Start a run with this id; one that exists is returned as it is."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        answer = self._call("POST", f"/dags/{dag}/dagRuns", json=body, conflict_ok=True)
        found = self.run(dag, run_id) if answer is None else DagRun.model_validate(answer)
        if found is None:
            raise NotFound("DAG run", f"{dag}/{run_id}")
        return found

    def clear_failed(self, run: DagRun) -> None:
        """Let a failed run go on from what has failed in it."""
        body = {"dag_run_id": run.dag_run_id, "only_failed": True, "dry_run": False, "reset_dag_runs": True}
        self._call("POST", f"/dags/{run.dag_id}/clearTaskInstances", json=body)

    def knows(self, dag: str) -> bool:
        """Whether Airflow has parsed the DAG."""
        return self._call("GET", f"/dags/{dag}", missing_ok=True) is not None

    def tasks(self, run: DagRun) -> dict[str, str]:
        """State by task."""
        answer = self._call("GET", f"/dags/{run.dag_id}/dagRuns/{run.dag_run_id}/taskInstances")
        return {task["task_id"]: task["state"] or "none" for task in answer["task_instances"]}

    def result(self, run: DagRun, task: str) -> Any:
        """What a task returned (its XCom), or None."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.dag_run_id}/taskInstances/{task}/xcomEntries/return_value"
        answer = self._call("GET", path, missing_ok=True, params={"deserialize": True})
        value = None if answer is None else answer["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    def last_words(self, run: DagRun, task: str) -> str:
        """The last error in a task's log, for the person who has to act; empty when there is none."""
        base = f"/dags/{run.dag_id}/dagRuns/{run.dag_run_id}/taskInstances/{task}"
        instance = self._call("GET", base)
        log = self._call("GET", f"{base}/logs/{max(1, instance['try_number'])}", missing_ok=True) or {}
        errors = [line for line in log.get("content", []) if isinstance(line, dict) and line.get("error_detail")]
        details = errors[-1]["error_detail"] if errors else []
        return str(details[0].get("exc_value", "")) if details else ""

    def questions(self, dag: str) -> list[Question]:
        """Questions of a DAG's runs that wait for an answer."""
        answer = self._call("GET", f"/dags/{dag}/dagRuns/~/hitlDetails", params={"response_received": False})
        return [_question(detail) for detail in answer["hitl_details"]]

    def answer(self, question: Question, option: str, comment: str) -> bool:
        """Answer a question; False when somebody else was quicker."""
        body = {"chosen_options": [option], "params_input": {"comment": comment}}
        return self._call("PATCH", question.path, json=body, conflict_ok=True) is not None

    def _call(self, verb: str, path: str, *, missing_ok: bool = False, conflict_ok: bool = False, **given: Any) -> Any:
        response = self._send(verb, path, given)
        if response.status_code == 401:
            self._token = ""
            response = self._send(verb, path, given)
        if (missing_ok and response.status_code == 404) or (conflict_ok and response.status_code == 409):
            return None
        if response.status_code == 404:
            raise NotFound("address in Airflow", path, hint="`modelyard status` shows whether its parts are well.")
        if response.is_error:
            raise Unavailable(f"Airflow answered {response.status_code} to {verb} {path}: {response.text[:500]}")
        return response.json()

    def _send(self, verb: str, path: str, given: Mapping[str, Any]) -> httpx.Response:
        for attempt in range(_TRANSPORT_RETRIES):
            try:
                if not self._token:
                    self._token = self._login()
                headers = {"Authorization": f"Bearer {self._token}"}
                response = self._http.request(verb, f"/api/v2{path}", headers=headers, **given)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.status_code < 500:
                    return response
                problem = f"{response.status_code}: {response.text[:200]}"
            self._sleep(2.0**attempt)
        raise Unavailable(f"Airflow at {self._http.base_url} does not answer ({problem}); see `modelyard status`")

    def _login(self) -> str:
        response = self._http.post("/auth/token", json={"username": self.name, "password": self._password})
        if response.is_error:
            raise Unavailable(f"Airflow did not let {self.name} in: {response.status_code} {response.text[:200]}")
        return str(response.json()["access_token"])


def _question(detail: Mapping[str, Any]) -> Question:
    task = detail["task_instance"]
    return Question(
        dag_id=task["dag_id"],
        dag_run_id=task["dag_run_id"],
        task_id=task["task_id"],
        map_index=task["map_index"],
        subject=detail["subject"],
        people=tuple(user["id"] for user in detail.get("assigned_users") or ()),
    )
