"""Retraining: from a reason to a release that governance has answered for, and on to its rollout.

Runs by the calendar, by the drift asset's event, or by hand; whatever started it, the release records the reason. One
cause gives one retraining: a run that finds a rollout open, or its cause answered already, is skipped and says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, TriggerRule, chain, task
from airflow.sdk.exceptions import AirflowSkipException
from modelyard_airflow import catalogue
from modelyard_airflow.approvals import PersonApproval
from modelyard_airflow.cause import Cause, answered, cause
from modelyard_airflow.generate import generate
from modelyard_airflow.links import MlflowRun, ValidationDocument, offer, report_page
from modelyard_airflow.tasks import AS_OF, acting, as_of, common, context, flow, given, platform, started_by

from modelyard.core.errors import NotApproved, ValidationFailed
from modelyard.core.window import parse_moment

PARAMS = {
    **AS_OF,
    "reason": Param("", type=["string", "null"], description="Why, for the record."),
    "overrides": Param({}, type=["object", "null"], description="Changes to this one release; makes it high risk."),
}
Plan = dict[str, str]


@flow()
def plan(model: str) -> Plan:
    """Settle as of when, why and for whom; be skipped when there is nothing left to retrain for."""
    here = platform()
    found = cause(here, model, context(), as_of(model))
    if why := answered(here, model, found):
        raise AirflowSkipException(why)
    return found.identifiers()


@flow()
def snapshot(model: str, planned: Plan) -> str:
    """Fix the rows; returns the snapshot's digest."""
    from modelyard.flows import snapshot as flows

    return flows.take(platform(), model, parse_moment(planned["as_of"])).content


@flow(ValidationDocument)
def validate(content: str) -> str:
    """Admit the snapshot, or quarantine it and stop; returns the digest of what was admitted."""
    from modelyard.flows import validate as flows

    here = platform()
    try:
        document = flows.validate(here, content).document
    except ValidationFailed:
        # The button is needed most when the task has failed; the incident names the document.
        incidents = {found.key: found for _, _, found in here.ledger.journal.incidents(open_only=True)}
        incident = incidents.get(f"validation:{content}")  # a person may have resolved it
        if incident is not None and incident.evidence:
            offer(context(), ValidationDocument, report_page(incident.evidence[0]))
        raise
    offer(context(), ValidationDocument, report_page(document))
    return content


@flow(MlflowRun, execution_timeout=timedelta(hours=6))
def train(model: str, planned: Plan, content: str) -> str:
    """Train on the admitted snapshot; returns the release's digest."""
    from modelyard.flows import train as flows

    here = platform()
    release = flows.train(
        here,
        model,
        content,
        as_of=parse_moment(planned["as_of"]),
        reason=planned["reason"],
        author=planned["author"],
        overrides=given("overrides", {}),
        run_key=context()["dag_run"].run_id,
        origin=Cause(**planned).origin(),
    )
    offer(context(), MlflowRun, here.tracking.run_url(release.mlflow_run_id))
    return release.digest


@flow(MlflowRun)
def evaluate(planned: Plan, release: str) -> str:
    """Measure the release and the champion on the same rows; returns the evidence's digest."""
    from modelyard.flows import evaluate as flows

    here = platform()
    offer(context(), MlflowRun, here.tracking.run_url(here.ledger.releases.get(release).mlflow_run_id))
    return flows.evaluate(here, release, as_of=parse_moment(planned["as_of"]))


@flow()
def gate(planned: Plan, release: str, evidence: str) -> str:
    """Decide whether the release may ship; fails when a blocker did not pass. Returns the decision's digest."""
    from modelyard.flows import gate as flows

    return flows.assess(platform(), release, evidence, parse_moment(planned["as_of"])).digest


@task.branch
@acting
def weigh_risk(release: str, decision: str) -> str:
    """Low risk is approved by policy, anything else by two people."""
    from modelyard.flows import govern

    return "approve_by_policy" if govern.risk(platform(), release, decision) == "low" else "approval_1"


@flow()
def approve_by_policy(release: str, decision: str) -> str:
    """Record the automatic approval."""
    from modelyard.flows import govern

    return govern.approve_automatically(platform(), release, decision, datetime.now(UTC)).digest


@flow(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def conclude(release: str, decision: str) -> str:
    """Decide on the answers: the release is approved, or turned down, which is skipped with its reason."""
    from modelyard.flows import govern

    here = platform()
    try:
        govern.conclude(here, release, decision, started_by=started_by(context()))
    except NotApproved as refused:
        answers = [a for a in here.ledger.journal.approvals(release) if a.decision == decision]
        if any(a.answer == "reject" for a in answers):
            raise AirflowSkipException(str(refused)) from None
        raise
    return release


def approvals(model: str, about: dict[str, Any]) -> list[PersonApproval]:
    """One question for each person whom governance asks for, one after the other: the next excludes those before."""
    seats = range(1, catalogue.quorum(model) + 1)
    return [PersonApproval(task_id=f"approval_{seat}", seat=seat, **about) for seat in seats]


def start_rollout(model: str) -> TriggerDagRunOperator:
    """Start the release's rollout; a release that has one already keeps it."""
    return TriggerDagRunOperator(
        task_id="start_rollout",
        trigger_dag_id=catalogue.dag_id(model, "rollout"),
        trigger_run_id="release-{{ ti.xcom_pull(task_ids='conclude')[7:19] }}",
        conf={"release": "{{ ti.xcom_pull(task_ids='conclude') }}"},
        logical_date=None,
        skip_when_already_exists=True,
    )


def retraining_dag(model: str) -> DAG:
    """The DAG of one model."""
    with DAG(
        dag_id=catalogue.dag_id(model, "retrain"),
        description=f"{model}: snapshot, validate, train, evaluate, gate, approve",
        doc_md=__doc__,
        schedule=catalogue.time_or_drift(model),
        **common(model),
    ) as dag:
        planned = plan(model)
        release = train(model, planned, validate(snapshot(model, planned)))
        decision = gate(planned, release, evaluate(planned, release))
        about = {"model": model, "release": release, "decision": decision}
        automatic, concluded = approve_by_policy(release, decision), conclude(release, decision)
        seats = approvals(model, about)
        weigh_risk(release, decision) >> [automatic, seats[0]]
        chain(*seats)
        [automatic, *seats] >> concluded >> start_rollout(model)
    return dag


generate("retrain", retraining_dag, globals(), PARAMS)
