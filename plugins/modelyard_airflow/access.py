"""What the pages ask of Airflow itself: who is reading, what they may see, and which run a page is about.

The one module that touches Airflow's internals (their names are those of 3.3). What a run did is not asked here: that
is in the platform's ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Run:
    """A run of a DAG, as far as Airflow alone knows it.

    ``wall`` is the moment whose event time the run works with unless ``conf`` names another (see ``tasks.as_of``).
    """

    dag_id: str
    run_id: str
    kind: str
    state: str
    wall: datetime
    conf: Mapping[str, Any] = field(default_factory=dict)
    person: str = ""


def signed_in() -> Any:
    """The dependency that lets only people in whom Airflow knows."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends

    return Depends(get_user)


def may_read_runs() -> Any:
    """The dependency that lets only people in who may see the runs of the DAG ``dag_id`` in the path."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends

    return Depends(requires_access_dag("GET", DagAccessEntity.RUN))


def find_run(dag_id: str, run_id: str) -> Run | None:
    """The run, or None when Airflow has none of this name."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    asked = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    with create_session() as session:
        if (found := session.scalar(asked)) is None:
            return None
        wall = found.data_interval_end or found.logical_date or found.run_after
        return Run(
            dag_id=dag_id,
            run_id=run_id,
            kind=str(found.run_type),
            state=str(found.state),
            wall=wall.astimezone(UTC),
            conf=dict(found.conf or {}),
            person=found.triggering_user_name or "",
        )
