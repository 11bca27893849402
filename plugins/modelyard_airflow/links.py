"""Buttons on a task's page that lead to what the task made: the MLflow run, a report, a document."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from modelyard_airflow import REPORTS
from modelyard_airflow.catalogue import settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

_KEY = "modelyard_link_{}"


def offer(context: Context, link: type[BaseOperatorLink], address: str) -> None:
    """Keep the address of something that this task made. Call it before anything that may fail: a failed task's
    button is the one that is needed most."""
    if address:
        logging.getLogger(__name__).info("%s: %s", link.name, address)
    context["ti"].xcom_push(key=_KEY.format(link.__name__), value=address)


def report_page(document: str | Path) -> str:
    """The address, within Airflow, of a document that is kept below ``<home>/docs``; empty for any other."""
    place, docs = Path(document), settings().home / "docs"
    if not place.is_relative_to(docs):
        return ""
    return f"{settings().airflow_url}{REPORTS}/{quote(str(place.relative_to(docs)))}"


class _Link(BaseOperatorLink):
    """Shows the address that the task offered, and nothing if it offered none."""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002  Airflow's signature
        """Airflow calls this in the worker when the task has ended and keeps the answer for the page."""
        return ti_key.xcom_pull(task_ids=ti_key.task_id, key=_KEY.format(type(self).__name__)) or ""


class MlflowRun(_Link):
    """The run in MLflow."""

    name = "MLflow run"


class ValidationDocument(_Link):
    """Great Expectations' Data Docs of the snapshot."""

    name = "Validation"


class DriftReport(_Link):
    """Evidently's report of the drift check."""

    name = "Drift report"
