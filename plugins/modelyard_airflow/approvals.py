"""The two approvals of a high-risk release, through Airflow's human-in-the-loop pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from modelyard_airflow.tasks import acting, platform, started_by

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelyard.core.records import Approval

COMMENT = "comment"


class PersonApproval(ApprovalOperator):
    """Asks one person, out of those whom governance allows, to approve or reject a release.

    ``seat`` says which of the people who are asked one after the other this is, from 1. Nobody may answer who started
    the run, made the release or has answered already: they are not among the assigned users, so Airflow's API itself
    refuses them. Nothing is answered by default, and a time-out never approves. The answer is recorded in the ledger,
    bound to the release and to the gate decision that it was given for; what is recorded is not asked again, however
    often the task is repeated.
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "release", "decision")

    def __init__(self, *, model: str, release: Any, decision: Any, seat: int, **kwargs: Any) -> None:
        comment = Param("", type=["string", "null"], title="Comment", description="Why; kept with the answer.")
        kwargs |= {"params": {COMMENT: comment}, "defaults": None}  # Airflow puts the DAG's own parameters there
        super().__init__(subject=f"{model}: approve the release?", body="", **kwargs)
        self.model, self.release, self.decision, self.seat = model, release, decision, seat

    def execute(self, context: Context) -> Any:
        """Ask those who may answer, and wait."""
        from modelyard.flows import govern

        here, given = platform(), self._given()
        if len(given) >= self.seat:
            return _result(given[self.seat - 1])
        if len(given) < self.seat - 1 or any(answer.answer == "reject" for answer in given):
            raise AirflowSkipException("an earlier answer was not an approval; there is nothing left to ask")
        excluded = {*started_by(context), *(answer.by for answer in given)}
        ask = acting(govern.request)(here, self.release, self.decision, excluded)
        if not ask.people:
            raise AirflowFailException(f"nobody may approve {self.model}: {', '.join(sorted(excluded))} are excluded")
        self.subject, self.body = ask.subject, ask.body
        self.assigned_users = [{"id": person, "name": person} for person in ask.people]
        self.response_timeout = ask.timeout
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer. What follows from the answers together is decided later, by governance."""
        from modelyard.flows import govern

        answer = HITLOperator.execute_complete(self, context, event)
        kept = acting(govern.answer)(
            platform(),
            self.release,
            self.decision,
            by=answer["responded_by_user"]["id"],
            at=answer["responded_at"],
            approve=answer["chosen_options"] == [self.APPROVE],
            comment=(answer["params_input"] or {}).get(COMMENT) or "",
            started_by=started_by(context),
        )
        return _result(kept)

    def _given(self) -> list[Approval]:
        """What people have answered to this very evidence, in order."""
        answers = platform().ledger.journal.approvals(self.release)
        return [answer for answer in answers if answer.decision == self.decision and not answer.automatic]


def _result(kept: Approval) -> dict[str, str]:
    """What the task returns."""
    return {"by": kept.by, "at": kept.at.isoformat(), "answer": kept.answer}
