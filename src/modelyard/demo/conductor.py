"""Waits for what Airflow does, meanwhile answers approvals and keeps traffic at the right pace; starts nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from modelyard.core.errors import Unavailable
from modelyard.demo.airflow_api import AirflowUser, DagRun, Question
from modelyard.demo.asking import Asking
from modelyard.demo.people import Approvers
from modelyard.demo.progress import Narrator
from modelyard.demo.traffic import Traffic

T = TypeVar("T")

POLL_SECONDS = 1.0
SLOW, STAGE = 0.05, 8.0
"""Hours per second. A stage of a rollout needs its requests; whatever else Airflow does takes seconds or minutes, in
which no days may pass: a model would be old when its rollout begins, and drift would ask for the next one meanwhile."""

_WATCHED = ("retrain", "rollout", "features")


class Conductor:
    """One model's runs, through the eyes of the person who starts them."""

    def __init__(
        self,
        model: str,
        airflow: AirflowUser,
        approvers: Approvers | Asking,
        tell: Narrator,
        airflow_url: str,
        *,
        may_not_ship: Callable[[str], bool],
        wait_seconds: float = 1800.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``approvers`` answer what is asked; with ``Asking`` that is left to a person, who may take as long as Airflow
        lets the question stand. ``may_not_ship`` says whether the gates have decided so of a release (its digest)."""
        self._model, self._airflow, self._approvers, self._tell = model, airflow, approvers, tell
        self._url, self._wait, self._sleep = airflow_url, wait_seconds, sleep
        self._may_not_ship = may_not_ship
        self._old_failures: set[str] | None = None

    def say(self, what: str) -> None:
        """Tell the person."""
        self._tell.say(what)

    def dag(self, loop: str) -> str:
        """The id of the model's DAG of a loop."""
        return f"{self._model}__{loop}"

    def runs(self, loop: str) -> list[DagRun]:
        """Runs of a loop, oldest first."""
        return self._airflow.runs(self.dag(loop))

    def newest(self, loop: str, prefix: str) -> DagRun | None:
        """The newest run whose id begins so."""
        return next((run for run in reversed(self.runs(loop)) if run.dag_run_id.startswith(prefix)), None)

    def active(self, loop: str) -> bool:
        """Whether a run of the loop is under way."""
        return any(not run.ended for run in self.runs(loop))

    def by_hand(self, loop: str, run_id: str, conf: Mapping[str, Any]) -> DagRun:
        """Start a run, or find the one that an earlier demo started; one that has failed goes on."""
        self._until_parsed(loop)
        found = self._airflow.run(self.dag(loop), run_id)
        if found is None:
            return self._airflow.trigger(self.dag(loop), run_id, conf)
        self._go_on(found)
        return found

    def revive(self) -> None:
        """Let retrainings and rollouts go on that have failed in an earlier demo."""
        for loop in ("retrain", "rollout"):
            if self._airflow.knows(self.dag(loop)) and (runs := self.runs(loop)):
                self._go_on(runs[-1])

    def _go_on(self, run: DagRun) -> None:
        if run.state == "failed" and not self.blocked(run):
            self.say(f"{run.dag_id}: {run.dag_run_id} had failed; it goes on from there")
            self._airflow.clear_failed(run)

    def ended(self, run: DagRun) -> bool:
        """Whether the run has come to a good end.

        Raises:
            Unavailable: it has failed; the message names the task and what it said.
        """
        found = self._airflow.run(run.dag_id, run.dag_run_id) or run
        if found.state == "failed":
            anew = " Nothing is broken: `make run` trains anew; first mend what the gates name." * self.blocked(found)
            raise Unavailable(self._why(found) + anew)
        return found.ended

    def was_skipped(self, run: DagRun, task: str) -> bool:
        """Whether this task of the run was skipped."""
        return self._airflow.tasks(run).get(task) == "skipped"

    def release(self, run: DagRun) -> str | None:
        """The digest of the release that the run has made, if it has come so far."""
        made = self._airflow.result(run, "train")
        return None if made is None else str(made)

    def blocked(self, run: DagRun) -> bool:
        """Whether the gates stopped the run: nothing is broken, its release may not ship.

        The ledger must say so too: the task also fails where the gates could not come to a decision.
        """
        if run.state != "failed":
            return False
        failed = [task for task, state in self._airflow.tasks(run).items() if state == "failed"]
        release = self.release(run) if failed == ["gate"] else None
        return release is not None and self._may_not_ship(release)

    def questions(self, run: DagRun) -> list[Question]:
        """Questions of a run that wait for an answer."""
        return [q for q in self._airflow.questions(run.dag_id) if q.dag_run_id == run.dag_run_id]

    def until(
        self,
        done: Callable[[], T],
        traffic: Traffic | None = None,
        *,
        answering: bool = False,
        hours_per_second: float | None = SLOW,
    ) -> T:
        """Wait until something is true; returns it. While a person is asked, without limit.

        ``answering`` lets the demo's identities answer meanwhile; a person is always told what waits.
        ``hours_per_second`` is the pace of the traffic while Airflow retrains and rolls out nothing; None is as fast as
        it goes.

        Raises:
            Unavailable: a run has failed meanwhile, or nothing happens for too long.
        """
        deadline = time.monotonic() + self._wait
        while not (found := done()):
            if time.monotonic() > deadline:
                raise Unavailable(f"nothing came of it in {self._wait:g} s; look at {self._url}")
            self._check_failures()
            if (answering or isinstance(self._approvers, Asking)) and self._wait_for_people():
                deadline = time.monotonic() + self._wait
            if traffic is not None:
                traffic.check()
                traffic.pace.hours_per_second = self._pace(hours_per_second)
            self._tell.now(self._now(traffic))
            self._sleep(POLL_SECONDS)
        return found

    def _pace(self, idle: float | None) -> float | None:
        if self.active("retrain"):
            return SLOW
        rollouts = [run for run in self.runs("rollout") if not run.ended]
        doing = [task for run in rollouts for task in _under_way(self._airflow.tasks(run))]
        return STAGE if any(task.startswith("stage_") for task in doing) else SLOW if rollouts else idle

    def _wait_for_people(self) -> bool:
        """Whether a person has a question to answer; where the demo's identities answer, they do it at once."""
        questions = self._airflow.questions(self.dag("retrain"))
        if isinstance(self._approvers, Asking):
            self._approvers.show(questions)
            return bool(questions)
        for who, question in self._approvers.answer(questions):
            self.say(f"{question.task_id}: approved by {who} (a demo identity)")
        return False

    def _check_failures(self) -> None:
        """A failed run stops the demo; what had failed before the demo began does not, nor does a gate that says no."""
        failed = {f"{r.dag_id}/{r.dag_run_id}": r for loop in _WATCHED for r in self.runs(loop) if r.state == "failed"}
        if self._old_failures is None:
            self._old_failures = set(failed)
        for name in failed.keys() - self._old_failures:
            if not self.blocked(failed[name]):
                raise Unavailable(self._why(failed[name]))
            self._old_failures.add(name)
            self.say(self._why(failed[name]))

    def _why(self, run: DagRun) -> str:
        broken = [task for task, state in self._airflow.tasks(run).items() if state == "failed"]
        words = "; ".join(f"{task}: {self._airflow.last_words(run, task) or 'see its log'}" for task in broken)
        return (
            f"run {run.dag_run_id} of {run.dag_id} failed. {words}. {self._url}/dags/{run.dag_id}/runs/{run.dag_run_id}"
        )

    def _now(self, traffic: Traffic | None) -> str:
        active = [run for loop in _WATCHED for run in self.runs(loop) if not run.ended]
        doing = [f"{run.dag_id}: {', '.join(_under_way(self._airflow.tasks(run))) or run.state}" for run in active]
        text = "; ".join(doing) or "waiting"
        if traffic is None:
            return text
        failed = traffic.record.tally.failed
        return (
            f"{text} | {traffic.reached:%a %d %b %H:%M}, {traffic.sent:,} requests, "
            f"{traffic.per_second:.0f}/s, {failed} failed"
        )

    def _until_parsed(self, loop: str) -> None:
        deadline = time.monotonic() + self._wait
        while not self._airflow.knows(self.dag(loop)):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Airflow has not parsed {self.dag(loop)}; see its page for import errors: {self._url}"
                )
            self._tell.now("waiting for Airflow to parse the DAGs")
            self._sleep(POLL_SECONDS)


def _under_way(tasks: Mapping[str, str]) -> list[str]:
    resting = {"none", "success", "skipped", "failed", "upstream_failed", "removed"}
    return [f"{task} {state.replace('_', ' ')}" for task, state in tasks.items() if state not in resting]
