"""Waiting for Airflow: answers are given, failures stop the demo, traffic keeps its pace."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.demo import FakeAirflow, Said, dag_run, question

from modelyard.core.errors import Unavailable
from modelyard.demo.asking import Asking
from modelyard.demo.conductor import SLOW, STAGE, Conductor
from modelyard.demo.people import Approvers


class Turns:
    """Lets something happen at the n-th wait."""

    def __init__(self, *turns: Any) -> None:
        self._turns, self.count = list(turns), 0

    def __call__(self, _: float) -> None:
        self.count += 1
        if self._turns:
            self._turns.pop(0)()


BLOCKED = "the digest of what the gates blocked"


def conductor(airflow: FakeAirflow, said: Said, *turns: Any, people: bool = True, wait: float = 1800) -> Conductor:
    identities = Approvers(dict.fromkeys(("demo-approver-1", "demo-approver-2"), airflow))  # type: ignore[arg-type]
    approvers = identities if people else Asking("http://a", {"demo-approver-1": "pw"}, said)
    return Conductor(
        "m", airflow, approvers, said, "http://a",  # type: ignore[arg-type]
        may_not_ship=BLOCKED.__eq__, wait_seconds=wait, sleep=Turns(*turns),
    )  # fmt: skip


def test_waits_until_a_run_has_ended() -> None:
    airflow, said = FakeAirflow(), Said()
    run = airflow.put(dag_run("r1"))
    airflow.states["r1"] = {"train": "running", "plan": "success"}
    watch = conductor(airflow, said, lambda: airflow.put(dag_run("r1", "success")))
    assert watch.until(lambda: watch.ended(run))
    assert said.last == "m__retrain: train running"


def test_answers_as_an_identity_that_may() -> None:
    airflow, said = FakeAirflow(), Said()
    airflow.open_questions = [question("approval_2", ("somebody", "demo-approver-2"))]
    watch = conductor(airflow, said)
    watch.until(lambda: airflow.answered, answering=True)
    assert airflow.answered == [("approval_2", "Approve")]
    assert said.lines == ["approval_2: approved by demo-approver-2 (a demo identity)"]


def test_a_question_for_nobody_of_the_demo_stops_it() -> None:
    airflow = FakeAirflow(open_questions=[question(people=("ann",))])
    with pytest.raises(Unavailable, match="may be answered by ann"):
        conductor(airflow, Said()).until(lambda: False, answering=True)


def test_a_person_is_told_once_where_to_answer() -> None:
    airflow, said = FakeAirflow(open_questions=[question()]), Said()
    turns = [lambda: None, airflow.open_questions.clear]
    watch = conductor(airflow, said, *turns, people=False)
    watch.until(lambda: not airflow.open_questions, answering=True)
    assert airflow.answered == []
    address = "http://a/dags/m__retrain/runs/r1/tasks/approval_1/required_actions"
    assert said.lines == [f"m: approve? Please answer at {address} as demo-approver-1 / pw"]


def test_a_person_is_told_of_questions_in_every_stage_and_identities_answer_only_in_theirs() -> None:
    airflow, said, turns = FakeAirflow(open_questions=[question()]), Said(), iter(range(3))
    conductor(airflow, said).until(lambda: next(turns) == 2)
    assert airflow.answered == said.lines == []
    conductor(airflow, said, airflow.open_questions.clear, people=False).until(lambda: not airflow.open_questions)
    assert len(said.lines) == 1


def test_a_person_may_take_any_time_while_the_question_is_open() -> None:
    airflow, said = FakeAirflow(open_questions=[question()]), Said()
    turns = [lambda: time.sleep(0.03) for _ in range(4)]
    watch = conductor(airflow, said, *turns, airflow.open_questions.clear, people=False, wait=0.06)
    with pytest.raises(Unavailable, match=r"nothing came of it in 0\.06 s"):
        watch.until(lambda: time.sleep(0.001), answering=True)  # type: ignore[func-returns-value]
    assert airflow.open_questions == [], "only after the question was closed did the clock run"
    closed = conductor(airflow, said, *turns, people=False, wait=0.06)
    with pytest.raises(Unavailable):
        closed.until(lambda: False, answering=True)


def test_a_person_is_reminded_every_few_minutes_with_everything_that_is_needed() -> None:
    said, now = Said(), [0.0]
    asking = Asking("http://a", {"ann": "pw"}, said, clock=lambda: now[0])
    first, second = question(people=("ann", "bob")), question("approval_2", ("ann",))
    for moment in range(0, 500, 10):
        now[0] = moment
        asking.show([first] if moment < 490 else [second])
    page = "http://a/dags/m__retrain/runs/r1/tasks/"
    asked = f"m: approve? Please answer at {page}approval_1/required_actions as ann / pw or bob"
    again = f"Still waiting, for as long as it takes: {asked}"
    assert said.lines == [
        asked,
        again,
        again,
        f"m: approve? Please answer at {page}approval_2/required_actions as ann / pw",
    ]


def test_a_failed_run_stops_the_demo_and_says_why() -> None:
    airflow = FakeAirflow(states={"r2": {"train": "failed", "gate": "upstream_failed"}})
    watch = conductor(airflow, Said(), lambda: airflow.put(dag_run("r2", "failed")))
    with pytest.raises(Unavailable, match=r"run r2 of m__retrain failed\. train: what train said\. http://a/dags"):
        watch.until(lambda: False)


def test_a_retraining_that_the_gates_block_is_told_and_the_demo_goes_on() -> None:
    said, states = Said(), {"train": "success", "gate": "failed", "conclude": "upstream_failed"}
    airflow = FakeAirflow(states={"r2": states}, results={("r2", "train"): BLOCKED})
    watch = conductor(airflow, said, lambda: airflow.put(dag_run("r2", "failed")))
    turns = iter(range(4))
    assert watch.until(lambda: next(turns) == 3)
    assert len(said.lines) == 1
    assert "gate: what gate said." in said.lines[0]


def test_a_blocked_retraining_of_an_earlier_demo_is_not_repeated() -> None:
    airflow = FakeAirflow(states={"b": {"gate": "failed"}}, results={("b", "train"): BLOCKED})
    run = airflow.put(dag_run("b", "failed"))
    watch = conductor(airflow, Said())
    watch.revive()
    assert airflow.cleared == []
    with pytest.raises(Unavailable, match=r"gate: what gate said.*`make run` trains anew"):
        watch.ended(run)


@pytest.mark.parametrize("made", [{}, {("b", "train"): "a release that the gates have not decided on"}])
def test_a_gate_that_broke_down_is_an_ordinary_failure_and_goes_on(made: dict[tuple[str, str], str]) -> None:
    airflow = FakeAirflow(states={"b": {"gate": "failed"}}, results=made)
    watch = conductor(airflow, Said(), lambda: airflow.put(dag_run("b", "failed")), wait=5)
    with pytest.raises(Unavailable, match=r"gate: what gate said\. http://a[^ ]*$"):
        watch.until(lambda: False)
    conductor(airflow, Said()).revive()
    assert airflow.cleared == ["b"]


def test_a_blocked_run_that_goes_on_or_fails_elsewhere_is_not_blocked() -> None:
    airflow = FakeAirflow(states={"b": {"gate": "failed"}}, results={("b", "train"): BLOCKED})
    watch = conductor(airflow, Said())
    assert watch.blocked(dag_run("b", "failed"))
    assert not watch.blocked(dag_run("b", "queued"))
    airflow.states["b"] = {"gate": "failed", "evaluate": "failed"}
    assert not watch.blocked(dag_run("b", "failed"))


def test_what_had_failed_before_does_not_stop_it() -> None:
    airflow = FakeAirflow()
    airflow.put(dag_run("old", "failed"))
    turns = Turns()
    watch = conductor(airflow, Said(), people=False)
    watch._sleep = turns
    assert watch.until(lambda: turns.count > 2)


def test_gives_up_when_nothing_happens() -> None:
    with pytest.raises(Unavailable, match="nothing came of it in 0 s"):
        conductor(FakeAirflow(), Said(), wait=0).until(lambda: False)


def test_traffic_keeps_the_pace_of_what_airflow_does() -> None:
    airflow, seen = FakeAirflow(), []
    pace = SimpleNamespace(hours_per_second="as it was")
    traffic: Any = SimpleNamespace(
        pace=pace,
        check=lambda: None,
        reached=datetime(2013, 4, 9, tzinfo=UTC),
        sent=10,
        per_second=5.0,
        record=SimpleNamespace(tally=SimpleNamespace(failed=0)),
    )

    def look() -> bool:
        seen.append(pace.hours_per_second)
        return len(seen) == 6

    def rollout(task: str) -> None:
        airflow.states["r2"] = {task: "running"}
        airflow.put(dag_run("r2", dag="m__rollout"))

    said = Said()
    turns = [
        lambda: airflow.put(dag_run("r1")),
        lambda: airflow.put(dag_run("r1", "success")),
        lambda: rollout("stage_1"),
        lambda: rollout("promote"),
    ]
    conductor(airflow, said, *turns).until(look, traffic, hours_per_second=None)
    assert seen == ["as it was", None, SLOW, None, STAGE, SLOW]
    assert said.last == "m__rollout: promote running | Tue 09 Apr 00:00, 10 requests, 5/s, 0 failed"


def test_runs_by_hand_are_started_found_or_continued() -> None:
    airflow, said = FakeAirflow(parsed=False), Said()
    watch = conductor(airflow, said, lambda: setattr(airflow, "parsed", True))
    assert watch.by_hand("retrain", "x", {"a": 1}).conf == {"a": 1}
    assert watch.by_hand("retrain", "x", {"a": 2}).conf == {"a": 1}
    airflow.put(dag_run("x", "failed"))
    watch.by_hand("retrain", "x", {})
    assert airflow.cleared == ["x"]


def test_dags_that_never_come_are_named() -> None:
    with pytest.raises(Unavailable, match="has not parsed m__retrain"):
        conductor(FakeAirflow(parsed=False), Said(), wait=0).by_hand("retrain", "x", {})


def test_failed_runs_of_an_earlier_demo_go_on() -> None:
    airflow = FakeAirflow()
    airflow.put(dag_run("a", "failed"))
    airflow.put(dag_run("b", "failed"))
    airflow.put(dag_run("c", "success", dag="m__rollout"))
    conductor(airflow, Said()).revive()
    assert airflow.cleared == ["b"]


def test_small_questions() -> None:
    airflow = FakeAirflow(states={"r1": {"plan": "skipped"}}, open_questions=[question(), question(run="other")])
    run = airflow.put(dag_run("r1"))
    watch = conductor(airflow, Said())
    assert watch.was_skipped(run, "plan")
    assert watch.active("retrain")
    assert not watch.active("rollout")
    assert watch.newest("retrain", "r") == run
    assert [q.dag_run_id for q in watch.questions(run)] == ["r1"]
