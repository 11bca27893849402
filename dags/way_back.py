"""The way back, by hand and rehearsed: revert to the champion before, or drill that way and come back.

*Trigger* asks what to do. `drill` goes back and forward again on every replica, probes each and records how long it
took; where `dags/schedules.yaml` has a line `drill` for the model, that runs by the calendar. `revert` makes an earlier
champion the champion, at once, and quarantines the present one for good: it needs a reason, and may name a version.

Both may be cleared at any time. A drill that was killed half way is ended forward. A revert that was begun is gone on
with; one that is done stays done; and where another version has become champion since the run was asked for, nothing is
reverted.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from modelyard_airflow import catalogue
from modelyard_airflow.generate import generate
from modelyard_airflow.tasks import common, context, flow, given, platform, started_by

DRILL, REVERT = "drill", "revert"
PARAMS = {
    "do": Param(DRILL, type="string", enum=[DRILL, REVERT], description="Rehearse the way back, or go it for good."),
    "why": Param("", type=["string", "null"], description="For a revert: why, for the audit log."),
    "to": Param(
        None, type=["integer", "null"], minimum=1, description="For a revert: the version; empty: the one before."
    ),
}


@flow()
def drill(model: str) -> str:
    """Go back and forward again on every replica, unless something else is under way or there is no way back."""
    from modelyard.flows import drill as flows

    if given("do", DRILL) != DRILL:
        raise AirflowSkipException("a revert was asked for")
    here = platform()
    if why := flows.obstacle(here, model):
        raise AirflowSkipException(why)
    return flows.drill(here, model, _by(), lambda: datetime.now(UTC)).reason


@flow()
def revert(model: str) -> str:
    """Make an earlier champion the champion again, on every replica and in the ledger."""
    from modelyard.flows import rollout

    if given("do", DRILL) != REVERT:
        raise AirflowSkipException("a drill was asked for")
    why, asked = str(given("why", "")).strip(), context()["dag_run"].run_after
    if not why:
        raise AirflowFailException("parameter why is empty: a revert needs a reason for the audit log")
    return rollout.revert(platform(), model, _by(), why, datetime.now(UTC), to=given("to"), asked=asked).summary


def _by() -> str:
    return next(iter(started_by(context())), "airflow")


def way_back_dag(model: str) -> DAG:
    """The DAG of one model."""
    with DAG(
        dag_id=catalogue.dag_id(model, "way_back"),
        description=f"{model}: revert to the champion before, or rehearse it",
        doc_md=__doc__,
        schedule=catalogue.drill_schedule(model),
        **common(model),
    ) as dag:
        drill(model)
        revert(model)
    return dag


generate("way_back", way_back_dag, globals(), PARAMS)
