"""The two demo identities that answer approvals, each with a login and a session of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from modelyard.core.errors import Unavailable
from modelyard.demo.airflow_api import AirflowUser, Question

STARTER = "admin"
APPROVERS = ("demo-approver-1", "demo-approver-2")
COMMENT = "Answered by a demo identity of `make run`; nobody has read the evidence."


class Approvers:
    """Answers every open question with "Approve", by an identity whom governance allows to answer it."""

    def __init__(self, people: Mapping[str, AirflowUser], *, after_seconds: float = 0.0) -> None:
        """``after_seconds`` is how long a question is left open: the scheduler hears some seconds late that the asking
        task waits, and takes one that is answered before that for killed."""
        self._people, self._after = people, after_seconds
        self._seen: dict[Question, float] = {}

    def answer(self, questions: Sequence[Question]) -> list[tuple[str, Question]]:
        """Answer the questions; returns who answered which.

        Raises:
            Unavailable: none of the identities may answer.
        """
        now = time.monotonic()
        ripe = [question for question in questions if now - self._seen.setdefault(question, now) >= self._after]
        return [(self._answer(question), question) for question in ripe]

    def _answer(self, question: Question) -> str:
        allowed = [name for name in self._people if name in question.people]
        if not allowed:
            who = ", ".join(question.people) or "anybody"
            raise Unavailable(f"{question.task_id} of {question.dag_run_id} may be answered by {who}, not by the demo")
        self._people[allowed[0]].answer(question, "Approve", COMMENT)
        return allowed[0]
