"""Puts a DAG per model into a DAG file; a model that is misconfigured gets one that says so, and the others theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, get_parsing_context
from airflow.sdk.exceptions import AirflowFailException

from modelyard.core.errors import ConfigError
from modelyard_airflow import catalogue

MISCONFIGURED = "misconfigured"
"""The tag of such a DAG, and its only task."""


def generate(
    loop: str,
    build: Callable[[str], DAG],
    namespace: MutableMapping[str, Any],
    params: Mapping[str, Param] | None = None,
) -> None:
    """Put the loop's DAG of each model into ``namespace``, which is the DAG file's ``globals()``.

    What is wrong with one model's own configuration makes a DAG of the same id, off the calendar, whose only task
    fails with the message. ``params`` become the parameters of every other DAG.

    Raises:
        ConfigError: what all models share is wrong. Airflow shows it as the file's import error, schedules none of its
            DAGs until it is mended, and then goes on with the runs that were under way.
    """
    catalogue.check_shared(loop)
    for model, folder in catalogue.models(loop).items():
        name = catalogue.dag_id(model, loop)
        try:
            catalogue.check(model, folder, loop)
        except ConfigError as error:
            if get_parsing_context().task_id not in (None, MISCONFIGURED):
                raise  # a task of the DAG as it was before: its log says why it cannot run
            namespace[name] = _misconfigured(name, model, loop, str(error))
            continue
        namespace[name] = dag = build(model)
        # Each task copies, deeply, what parameters its DAG has when the task is made, and no task of ours reads its
        # copy: given now, they cost nothing. It is half the parse of a large file.
        dag.params.update(params or {})


def _misconfigured(name: str, model: str, loop: str, why: str) -> DAG:
    def fail() -> None:
        raise AirflowFailException(why)

    with DAG(
        dag_id=name,
        description=f"{model} is misconfigured: {why}",
        doc_md=f"This model is misconfigured. Its DAG comes back when this is mended:\n\n    {why}\n",
        # What the governor asks for meanwhile fails here in plain sight; cleared when all is mended, it is served.
        schedule=[catalogue.drift_asset(model)] if loop == "retrain" else None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["modelyard", model, MISCONFIGURED],
        default_args={"owner": model, "retries": 0},
    ) as dag:
        # The message is part of the function: as an argument it would be read as a template.
        PythonOperator(task_id=MISCONFIGURED, python_callable=fail, doc_md="Fail at once with what is wrong.")
    return dag
