"""Feature materialisation: build the offline views from what has landed and bring the online store up to date.

Each hour it also sees that MLflow still says what the ledger says, and, once a day of event time, that features are
served as training sees them.
"""

from __future__ import annotations

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from modelyard_airflow import catalogue
from modelyard_airflow.generate import generate
from modelyard_airflow.tasks import AS_OF, as_of, common, flow, platform

from modelyard.core.window import parse_moment


@flow()
def build(model: str) -> str:
    """Build the offline views from what was known by ``as_of``; returns that moment."""
    from modelyard.flows import features

    moment = as_of(model)
    features.build(platform(), model, moment)
    return moment.isoformat()


@flow()
def materialise(model: str, moment: str) -> int:
    """Write the newest values into the online store; returns how many."""
    from modelyard.flows import features

    return features.materialize(platform(), model, parse_moment(moment))


@flow()
def reconcile(model: str) -> list[str]:
    """Bring MLflow's aliases and tags back in line with the ledger; returns what somebody had changed."""
    from modelyard.flows import registry

    here = platform()
    if here.ledger.releases.champion(model) is None:
        raise AirflowSkipException("there is no champion yet, so there is nothing to project")
    return list(registry.reconcile(here, model))


@flow()
def compare_served(model: str, moment: str) -> str | None:
    """Compare sampled requests' features with the offline ones, where it is due; returns the decision's digest."""
    from modelyard.core.errors import EvidenceMissing
    from modelyard.flows import parity

    try:
        decision = parity.check(platform(), model, parse_moment(moment))
    except EvidenceMissing as nothing:
        raise AirflowSkipException(str(nothing)) from None
    return None if decision is None else decision.digest


def features_dag(model: str) -> DAG:
    """The DAG of one model."""
    with DAG(
        dag_id=catalogue.dag_id(model, "features"),
        description=f"{model}: offline views, then the online store",
        doc_md=__doc__,
        schedule=catalogue.schedule(model, "features"),
        **common(model),
    ) as dag:
        built = build(model)
        materialise(model, built) >> [reconcile(model), compare_served(model, built)]
    return dag


generate("features", features_dag, globals(), AS_OF)
