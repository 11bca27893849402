"""Staged rollout of one release: enter a stage, wait without a worker, look, advance or hold; promote or roll back.

A policy of the strategy `shadow` promotes nothing: once its stage has shown all, `stand_down` takes the challenger off.

The rollout's state is in the platform's ledger and its traffic split in the gateway's replicas; this DAG asks them to
go on. A guardrail that trips sends all traffic to the champion at once, whether Airflow is alive or not; the next look
finds it and the rollout is rolled back here, with its reason.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param, TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from modelyard_airflow import catalogue
from modelyard_airflow.generate import generate
from modelyard_airflow.stages import StageOperator
from modelyard_airflow.tasks import common, flow, given, platform

LOOK_RETRIES = 20
"""When a worker ends slowly, Airflow may take the end of one look for the end of the task and start it anew (seen under
load). A stage has many looks and starting it anew is harmless, so this must not use up its patience."""

PARAMS = {"release": Param("", type="string", description="Digest of the release, as approved.")}


@flow()
def start(model: str) -> str:
    """Open the rollout of the release; returns its id. The same release again finds the same rollout."""
    from modelyard.flows import rollout

    here, release = platform(), str(given("release"))
    if (owner := here.ledger.releases.get(release).model) != model:
        raise AirflowFailException(f"release {release} is of model {owner}, not of {model}")
    return rollout.start(here, release, datetime.now(UTC)).id


@flow(trigger_rule=TriggerRule.NONE_FAILED)
def promote(opened: str) -> str:
    """Make the release the champion, if every stage was passed or a person has decided so."""
    from modelyard.flows import rollout

    here = platform()
    state = rollout.read(here, opened)
    earned = state.status == "running" and state.action == "promote"
    if not earned and state.status not in ("promoting", "promoted"):
        raise AirflowSkipException(state.summary)
    return rollout.promote(here, opened, datetime.now(UTC)).summary


@flow(trigger_rule=TriggerRule.NONE_FAILED)
def roll_back(opened: str) -> str:
    """Give all traffic back to the champion, verify it on every replica, quarantine the release."""
    from modelyard.flows import rollout

    here = platform()
    state = rollout.read(here, opened)
    if state.action != "rollback" and state.status not in ("rolling_back", "rolled_back"):
        raise AirflowSkipException(state.summary)
    return rollout.roll_back(here, opened, datetime.now(UTC)).summary


@flow(trigger_rule=TriggerRule.NONE_FAILED)
def stand_down(opened: str) -> str:
    """After a shadow that was passed: the champion alone, and nothing held against the release."""
    from modelyard.flows import rollout

    here = platform()
    state = rollout.read(here, opened)
    if state.action != "conclude" or state.status not in ("running", "concluding", "concluded"):
        raise AirflowSkipException(state.summary)
    return rollout.stand_down(here, opened, datetime.now(UTC)).summary


@flow(trigger_rule=TriggerRule.NONE_FAILED)
def verify_closed(opened: str) -> str:
    """Fail unless the rollout has ended: a run that is green must not leave one open."""
    from modelyard.flows import rollout

    state = rollout.read(platform(), opened)
    if not state.closed:
        raise AirflowFailException(f"rollout {opened} is still open: {state.summary}; clear this run to go on with it")
    return state.summary


def rollout_dag(model: str) -> DAG:
    """The DAG of one model."""
    with DAG(
        dag_id=catalogue.dag_id(model, "rollout"),
        description=f"{model}: staged rollout of a release under live traffic",
        doc_md=__doc__,
        schedule=None,
        **common(model),
    ) as dag:
        opened = start(model)
        stages = [
            StageOperator(
                task_id=f"stage_{n}",
                rollout=opened,
                stage=n,
                trigger_rule=TriggerRule.NONE_FAILED,
                retries=LOOK_RETRIES,
            )
            for n in range(catalogue.rollout_stages(model))
        ]
        for before, after in zip([opened, *stages], stages, strict=False):
            before >> after
        stages[-1] >> [promote(opened), stand_down(opened), roll_back(opened)] >> verify_closed(opened)
    return dag


generate("rollout", rollout_dag, globals(), PARAMS)
