"""Drift monitoring: look at what was served and what became of it; ask for a retraining when the governor says so."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from modelyard_airflow import catalogue
from modelyard_airflow.generate import generate
from modelyard_airflow.links import DriftReport, offer, report_page
from modelyard_airflow.tasks import AS_OF, as_of, common, context, flow, is_busy, platform

from modelyard.core.errors import IntegrityError
from modelyard.core.window import parse_moment


@flow()
def check(model: str) -> dict[str, Any]:
    """Check the model as of the run's moment; the check and the governor's decision are kept in the ledger."""
    here = platform()
    if here.ledger.releases.champion(model) is None:
        raise AirflowSkipException("there is no champion yet, so there is nothing to check")
    from modelyard.flows import monitor

    moment, run = as_of(model), context()["dag_run"].run_id
    busy = is_busy(catalogue.dag_id(model, "retrain"))
    decision = monitor.check(here, model, moment, run_key=run, retraining_open=busy)
    return {
        "as_of": moment.isoformat(),
        "decision": decision.digest,
        "action": decision.action,
        "reason": "; ".join(decision.reasons),
    }


@flow()
def ask_for_retraining(model: str, checked: dict[str, Any]) -> None:
    """Emit the drift asset's event if the governor decided so; otherwise be skipped, which emits nothing."""
    if checked["action"] != "retrain":
        raise AirflowSkipException(f"the governor says {checked['action']}: {checked['reason']}")
    event = context()["outlet_events"][catalogue.drift_asset(model)]
    event.extra = {key: checked[key] for key in ("reason", "decision", "as_of")}


@flow(DriftReport)
def draw_report(model: str, checked: dict[str, Any]) -> None:
    """Draw the report that explains the retraining; it costs more than all checks of a day, so only then."""
    from modelyard.flows import features, monitor, reports

    here = platform()
    champion = here.ledger.releases.champion(model)
    if champion is None:
        raise AirflowSkipException("there is no champion, so there is nothing to compare with")
    try:
        reference = features.frame_of(here, champion)
    except IntegrityError as changed:
        raise AirflowSkipException(str(changed)) from None
    path = monitor.report(here, model, parse_moment(checked["as_of"]), reference)
    offer(context(), DriftReport, report_page(path))
    reports.keep(here, champion, path)


def monitor_dag(model: str) -> DAG:
    """The DAG of one model."""
    with DAG(
        dag_id=catalogue.dag_id(model, "monitor"),
        description=f"{model}: drift, quality and the retrain governor",
        doc_md=__doc__,
        schedule=catalogue.schedule(model, "monitor"),
        **common(model),
    ) as dag:
        checked = check(model)
        asked = ask_for_retraining.override(outlets=[catalogue.drift_asset(model)])(model, checked)
        asked >> draw_report(model, checked)
    return dag


generate("monitor", monitor_dag, globals(), AS_OF)
