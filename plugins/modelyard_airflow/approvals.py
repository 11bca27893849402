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

COMMENT = "comment"


class PersonApproval(ApprovalOperator):
    """Asks one person, out of those whom governance allows, to approve or reject a release.

    Nobody may answer who started the run, made the release or gave an ``earlier`` answer: they are not among the
    assigned users, so Airflow's API itself refuses them. Nothing is answered by default, and a time-out never approves.
    The answer is recorded in the ledger, bound to the release and to the gate decision that it was given for.
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "release", "decision")

    def __init__(self, *, model: str, release: Any, decision: Any, earlier: Sequence[str] = (), **kwargs: Any) -> None:
        comment = Param("", type=["string", "null"], title="Comment", description="Why; kept with the answer.")
        kwargs |= {"params": {COMMENT: comment}, "defaults": None}  # Airflow puts the DAG's own parameters there
        super().__init__(subject=f"{model}: approve the release?", body="", **kwargs)
        self.model, self.release, self.decision, self.earlier = model, release, decision, tuple(earlier)

    def execute(self, context: Context) -> Any:
        """Ask those who may answer, and wait."""
        from modelyard.flows import govern

        given = [self._answer(context, task) for task in self.earlier]
        if any(answer is None or answer["chosen_options"] != [self.APPROVE] for answer in given):
            raise AirflowSkipException("an earlier answer was not an approval; there is nothing left to ask")
        excluded = {*started_by(context), *(answer["responded_by_user"]["id"] for answer in given)}
        ask = acting(govern.request)(platform(), self.release, self.decision, excluded)
        if not ask.people:
            raise AirflowFailException(f"nobody may approve {self.model}: {', '.join(sorted(excluded))} are excluded")
        self.subject, self.body = ask.subject, ask.body
        self.assigned_users = [{"id": person, "name": person} for person in ask.people]
        self.response_timeout = ask.timeout
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer. What follows from the answers together is decided later, by governance."""
        answer = HITLOperator.execute_complete(self, context, event)
        self._record(context, answer)
        return answer

    def _answer(self, context: Context, task: str) -> Any:
        return context["ti"].xcom_pull(task_ids=task)

    def _record(self, context: Context, answer: Any) -> None:
        from modelyard.flows import govern

        acting(govern.answer)(
            platform(),
            self.release,
            self.decision,
            by=answer["responded_by_user"]["id"],
            at=answer["responded_at"],
            approve=answer["chosen_options"] == [self.APPROVE],
            comment=(answer["params_input"] or {}).get(COMMENT) or "",
            started_by=started_by(context),
        )
