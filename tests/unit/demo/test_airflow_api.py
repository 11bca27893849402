"""Airflow's API as the demo uses it, against a server that answers as Airflow 3.3 was seen to answer."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from modelyard.core.errors import NotFound, Unavailable
from modelyard.demo.airflow_api import AirflowUser, DagRun, Question

RUN = {
    "dag_id": "m__retrain",
    "dag_run_id": "r1",
    "state": "running",
    "run_type": "manual",
    "run_after": "2026-01-01T00:00:00Z",
    "conf": {},
    "unknown": "is ignored",
}
DETAIL = {
    "subject": "approve?",
    "assigned_users": [{"id": "ann", "name": "ann"}],
    "task_instance": {"dag_id": "m__retrain", "dag_run_id": "r1", "task_id": "approval_1", "map_index": -1},
}
QUESTION = Question(
    dag_id="m__retrain", dag_run_id="r1", task_id="approval_1", map_index=-1, subject="approve?", people=("ann",)
)


class Airflow:
    """Answers by path; remembers what was asked."""

    def __init__(self, **answers: Callable[[httpx.Request], httpx.Response] | tuple[int, object]) -> None:
        self._answers = answers
        self.asked: list[httpx.Request] = []
        self.logins = 0

    def user(self) -> AirflowUser:
        return AirflowUser("http://a", "ann", "pw", transport=httpx.MockTransport(self._serve), sleep=lambda _: None)

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            self.logins += 1
            known = json.loads(request.content)["password"] == "pw"
            return httpx.Response(201 if known else 401, json={"access_token": f"t{self.logins}"})
        self.asked.append(request)
        last = request.url.path.rsplit("/", 1)[-1]
        found = self._answers.get(f"{request.method.lower()}_{last}", (404, {"detail": "not found"}))
        return found(request) if callable(found) else httpx.Response(found[0], json=found[1])


def test_reads_runs_oldest_first() -> None:
    newest_first = {"dag_runs": [RUN | {"dag_run_id": "r2"}, RUN]}
    airflow = Airflow(get_dagRuns=(200, newest_first))
    assert [run.dag_run_id for run in airflow.user().runs("m__retrain")] == ["r1", "r2"]
    assert airflow.asked[0].url.params["order_by"] == "-run_after"
    assert airflow.asked[0].headers["authorization"] == "Bearer t1"


def test_starts_a_run_with_its_conf() -> None:
    airflow = Airflow(post_dagRuns=(200, RUN))
    assert airflow.user().trigger("m__retrain", "r1", {"reason": "x"}).state == "running"
    body = json.loads(airflow.asked[0].content)
    assert body == {"dag_run_id": "r1", "logical_date": None, "conf": {"reason": "x"}}


def test_a_run_that_exists_is_returned_as_it_is() -> None:
    airflow = Airflow(post_dagRuns=(409, {"detail": "exists"}), get_r1=(200, RUN | {"state": "success"}))
    assert airflow.user().trigger("m__retrain", "r1", {}).ended


def test_absence_is_none_where_it_is_asked_for_and_an_error_elsewhere() -> None:
    user = Airflow().user()
    assert user.run("m__retrain", "r1") is None
    assert not user.knows("m__retrain")
    with pytest.raises(NotFound, match="address in Airflow"):
        user.runs("m__retrain")


def test_lists_and_answers_questions() -> None:
    airflow = Airflow(get_hitlDetails=(200, {"hitl_details": [DETAIL]}), patch_hitlDetails=(200, {}))
    user = airflow.user()
    assert user.questions("m__retrain") == [QUESTION]
    assert user.answer(QUESTION, "Approve", "fine")
    sent = airflow.asked[-1]
    assert sent.url.path == "/api/v2/dags/m__retrain/dagRuns/r1/taskInstances/approval_1/-1/hitlDetails"
    assert json.loads(sent.content) == {"chosen_options": ["Approve"], "params_input": {"comment": "fine"}}
    assert QUESTION.page == "/dags/m__retrain/runs/r1/tasks/approval_1/required_actions"


def test_somebody_else_was_quicker() -> None:
    assert not Airflow(patch_hitlDetails=(409, {})).user().answer(QUESTION, "Approve", "")


def test_a_refused_answer_is_an_error_that_quotes_airflow() -> None:
    with pytest.raises(Unavailable, match=r"403.*not a respondent"):
        Airflow(patch_hitlDetails=(403, {"detail": "not a respondent"})).user().answer(QUESTION, "Approve", "")


def test_logs_in_again_once_when_the_token_has_run_out() -> None:
    def expired(request: httpx.Request) -> httpx.Response:
        good = request.headers["authorization"] == "Bearer t2"
        return httpx.Response(200 if good else 401, json={"dag_runs": []})

    airflow = Airflow(get_dagRuns=expired)
    assert airflow.user().runs("m__retrain") == []
    assert airflow.logins == 2


def test_a_wrong_password_is_named() -> None:
    airflow = Airflow()
    user = AirflowUser("http://a", "ann", "no", transport=httpx.MockTransport(airflow._serve), sleep=lambda _: None)
    with pytest.raises(Unavailable, match="did not let ann in"):
        user.runs("m__retrain")


def test_a_server_that_stumbles_is_asked_again_and_then_given_up() -> None:
    answers = iter([500, 502, 200])

    def stumble(_: httpx.Request) -> httpx.Response:
        return httpx.Response(next(answers, 500), json={"dag_runs": []})

    user = Airflow(get_dagRuns=stumble).user()
    assert user.runs("m__retrain") == []
    with pytest.raises(Unavailable, match="does not answer"):
        user.runs("m__retrain")


def test_a_server_that_is_not_there_is_named() -> None:
    def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    user = AirflowUser("http://a", "ann", "pw", transport=httpx.MockTransport(gone), sleep=lambda _: None)
    with user, pytest.raises(Unavailable, match="http://a does not answer"):
        user.runs("m__retrain")


def test_results_and_last_words() -> None:
    log = {"content": [{"event": "x"}, {"event": "failed", "error_detail": [{"exc_value": "no such model"}]}]}
    airflow = Airflow(
        get_return_value=(200, {"value": '{"reason": "drift"}'}),
        get_train=(200, {"try_number": 2}),
        get_2=(200, log),
        get_taskInstances=(200, {"task_instances": [{"task_id": "train", "state": None}]}),
    )
    user, run = airflow.user(), DagRun.model_validate(RUN)
    assert user.result(run, "plan") == {"reason": "drift"}
    assert user.last_words(run, "train") == "no such model"
    assert user.tasks(run) == {"train": "none"}
    assert Airflow().user().result(run, "plan") is None
