"""The decorator of every task that calls a flow, and what tasks ask of the run they are in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import BaseOperatorLink, Param, get_current_context
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelyard.core.errors import Conflict, ModelyardError, Unavailable
from modelyard.core.window import parse_moment
from modelyard_airflow.catalogue import retry_delay, settings

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import Task

    from modelyard.ports.platform import Platform

AS_OF = {"as_of": Param("", type=["string", "null"], description="Event time; empty: the end of the run's interval.")}
"""The parameter of every DAG that looks at data."""

MAY_PASS = (Unavailable, Conflict)
"""Errors that trying again may mend; every other error of the platform fails the task at once."""


def platform() -> Platform:
    """The platform that the environment describes. Call it in tasks only: it imports what a parse must not."""
    from modelyard.wiring import connect

    return connect(settings())


def acting(call: Callable[..., Any]) -> Callable[..., Any]:
    """Give the platform's errors to Airflow as what they are: a message for a person, tried again or not."""

    @functools.wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except MAY_PASS:
            raise
        except ModelyardError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error

    return guarded


class FlowOperator(DecoratedOperator, PythonOperator):
    """A Python task with buttons to what it made."""

    custom_operator_name = "@flow"
    template_fields: Sequence[str] = ("op_args", "op_kwargs")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Any,
        op_kwargs: Any,
        links: Sequence[BaseOperatorLink] = (),
        **kwargs: Any,
    ) -> None:
        given = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        super().__init__(kwargs_to_upstream=given, **given, **kwargs)
        self.operator_extra_links = tuple(links)


def flow(*links: type[BaseOperatorLink], **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]:
    """Make a function a task that calls a flow; ``links`` are the buttons that its page may show."""

    def decorate(function: Callable[..., Any]) -> Task[..., Any]:
        chosen = {"links": [link() for link in links], **options}
        made = task_decorator_factory(
            python_callable=acting(function), decorated_operator_class=FlowOperator, multiple_outputs=False, **chosen
        )
        return cast("Task[..., Any]", made)  # Airflow declares what it returns without a callable

    return decorate


def common(model: str) -> dict[str, Any]:
    """What every DAG of a model has in common."""
    return {
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": False,
        "tags": ["modelyard", model],
        "default_args": {"owner": model, "retries": 2, "retry_delay": retry_delay(model)},
    }


def context() -> Context:
    """The context of the running task."""
    return get_current_context()


def given(key: str, default: Any = None) -> Any:
    """A parameter of the run: from its conf or its form, else the default."""
    value = (context().get("params") or {}).get(key)
    return default if value in (None, "") else value


def started_by(context: Context) -> list[str]:
    """The person who started the run by hand, if a person did."""
    person = context["dag_run"].triggering_user_name
    return [person] if person else []


def is_busy(dag: str) -> bool:
    """Whether a run of this DAG is under way or waits for its turn."""
    return bool(context()["ti"].get_dr_count(dag_id=dag, states=["queued", "running"]))


def as_of(model: str) -> datetime:
    """The moment up to which the run may know things.

    What the run was given as ``as_of``; else the event time that was in force at the end of its data interval. Neither
    changes when the run is cleared.
    """
    if text := given("as_of"):
        moment, reached = parse_moment(str(text)), platform().as_of(model, datetime.now(UTC))
        if moment > reached:
            raise AirflowFailException(f"as_of {moment.isoformat()} lies ahead; time has come to {reached.isoformat()}")
        return moment
    run = context()["dag_run"]
    wall = run.data_interval_end or run.logical_date or run.run_after
    if wall is None:
        raise AirflowException("the run has neither a data interval nor a parameter as_of; give as_of")
    return platform().as_of(model, wall.astimezone(UTC)).astimezone(UTC)
