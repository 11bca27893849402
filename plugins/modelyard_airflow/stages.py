"""A stage of a rollout as one deferrable task: look, wait without a worker, look again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from modelyard_airflow.tasks import acting, platform

if TYPE_CHECKING:
    from airflow.sdk import Context


class StageOperator(BaseOperator):
    """Brings a rollout into one stage and looks at it until the rollout leaves the stage.

    Between looks the task is deferred to an absolute moment, so a restart of the scheduler or the triggerer neither
    shortens nor prolongs a stage. Entering a stage and looking at it are idempotent: the rollout's state is in the
    ledger, the task only asks it to go on. A stage that the rollout has left already, or never comes to, is skipped.
    """

    template_fields: Sequence[str] = ("rollout",)
    ui_color = "#e8f4e8"

    def __init__(self, *, rollout: Any, stage: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rollout, self.stage = rollout, stage

    def execute(self, context: Context) -> Any:  # noqa: ARG002  Airflow's signature
        """Enter the stage."""
        from modelyard.flows import rollout

        now = datetime.now(UTC)
        state = acting(rollout.enter)(platform(), self.rollout, self.stage, now)
        return self._go_on(state)

    def look(self, context: Context, event: Any) -> Any:  # noqa: ARG002  Airflow's signature
        """Look at the stage, after the wait."""
        from modelyard.flows import rollout

        state = acting(rollout.look)(platform(), self.rollout, datetime.now(UTC))
        return self._go_on(state)

    def _go_on(self, state: Any) -> str:
        if state.stage != self.stage or state.closed:
            raise AirflowSkipException(state.summary)
        raise NotImplementedError
