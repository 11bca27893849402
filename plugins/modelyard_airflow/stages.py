"""A stage of a rollout as one deferrable task: enter, wait without a worker, look, wait again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowSkipException

from modelyard.core.errors import Conflict
from modelyard_airflow.tasks import acting, platform

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelyard.rollout.state import RolloutState


SHORT_SECONDS = 30
"""Shorter waits are waited out. Airflow hears some seconds late that a deferred task has let go of its worker; if it
runs again by then, the scheduler takes it for killed and starts it anew ("finished with state success, but ...")."""


class StageOperator(BaseOperator, SkipMixin):
    """Brings a rollout into one stage and looks at it until the rollout leaves the stage.

    Between looks the task is deferred to an absolute moment, so a restart of the scheduler or the triggerer neither
    shortens nor prolongs a stage. Entering a stage and looking at it are idempotent: the rollout's state is in the
    ledger, the task only asks it to go on. A stage that the rollout never comes to is skipped. While a person has
    paused the rollout, the task waits to enter its stage, deferred too.
    """

    template_fields: Sequence[str] = ("rollout",)
    inherits_from_skipmixin = True
    ui_color = "#e8f4e8"

    def __init__(self, *, rollout: Any, stage: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rollout, self.stage = rollout, stage

    def execute(self, context: Context) -> Any:
        """Enter the stage; on a retry, go on from where the ledger says that the rollout stands."""
        return self._begin(context)

    def again(self, context: Context, event: Any) -> Any:  # noqa: ARG002  Airflow's signature
        """Try to enter the stage once more, after the wait for a rollout that was paused."""
        return self._begin(context)

    def _begin(self, context: Context) -> str:
        from modelyard.flows import rollout

        here = platform()
        state = rollout.read(here, self.rollout)
        if self.stage >= len(state.stages):
            raise AirflowSkipException(f"this rollout has {len(state.stages)} stage(s)")
        if state.action in ("conclude", "rollback") or state.status not in ("pending", "running"):
            raise AirflowSkipException(state.summary)
        if state.action == "fast_track" and state.stage < self.stage != state.next_stage:
            raise AirflowSkipException(f"left out: {state.reason}")
        try:
            state = acting(rollout.enter)(here, self.rollout, self.stage, datetime.now(UTC))
        except Conflict as error:
            state = rollout.read(here, self.rollout)
            if not state.paused or state.closed:
                raise
            self.log.info("%s", error)
            seconds = max(state.policy.look_every_seconds, 2 * SHORT_SECONDS)
            self.defer(
                trigger=DateTimeTrigger(moment=datetime.now(UTC) + timedelta(seconds=seconds)), method_name="again"
            )
        return self._go_on(context, state)

    def look(self, context: Context, event: Any) -> Any:  # noqa: ARG002  Airflow's signature
        """Look at the stage, after the wait."""
        return self._go_on(context, self._look())

    def _go_on(self, context: Context, state: RolloutState) -> str:
        self.log.info("look %d: %s: %s", state.looks, state.action, state.summary)
        if state.status == "running" and state.stage > self.stage:
            return state.summary  # a cleared task: the rollout has left this stage, and a later task goes on with it
        while state.status == "running" and state.action in ("hold", "ask") and state.next_look_at is not None:
            wait = (state.next_look_at - datetime.now(UTC)).total_seconds()
            if wait > SHORT_SECONDS:
                self.defer(trigger=DateTimeTrigger(moment=state.next_look_at), method_name="look")
            time.sleep(max(wait, 0))
            state = self._look()
            self.log.info("look %d: %s: %s", state.looks, state.action, state.summary)
        if state.action in ("promote", "conclude", "rollback") or state.status not in ("pending", "running"):
            self._end(context)
        return state.summary

    def _look(self) -> RolloutState:
        from modelyard.flows import rollout

        looked: RolloutState = acting(rollout.look)(platform(), self.rollout, datetime.now(UTC))
        return looked

    def _end(self, context: Context) -> None:
        """The rollout is decided: later stages are skipped at once, for the outcome is waiting to be carried out."""
        stages = context["task"].get_flat_relatives(upstream=False)
        later = [task for task in stages if isinstance(task, StageOperator)]
        if later:
            self.skip(ti=context["ti"], tasks=later)
