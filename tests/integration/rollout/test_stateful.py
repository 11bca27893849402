"""A model-based test of the rollout: a DAG, people, replicas and clients do what they like, in any order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from fixtures.platforms import Crash
from fixtures.rollout_world import Replica, World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modelyard.core.errors import Conflict, ModelyardError, NotApproved, Unavailable
from modelyard.flows import rollout

REPLICA = st.integers(0, 1)
GUARDRAILS = st.sampled_from(["error_rate", "latency_slo"])


class Rollouts(RuleBasedStateMachine):
    """What may happen. ``World.check`` runs after every write and every call of the fleet in each of these."""

    strategy = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), self.strategy)
        self.release = ""

    @initialize(kind=st.sampled_from(["alike", "worse", "better"]))
    def a_release_is_approved(self, kind: str) -> None:
        self.world.log.kind = kind
        for replica in self.world.replicas:
            replica.errors = 400.0 if kind == "better" else 0.0
        self.release = self.world.approve()

    @rule(after=st.none() | st.integers(1, 25))
    def the_dag_goes_on(self, after: int | None) -> None:
        """And dies, or not."""
        world = self.world
        world.dies_at = [] if after is None else [world.effects + after]
        with suppress(Conflict, NotApproved, Unavailable):
            world.task(self.release)
        world.dies_at = []

    @rule(times=st.integers(1, 6))
    def the_dag_goes_on_for_a_while(self, times: int) -> None:
        for _ in range(times):
            self.the_dag_goes_on(None)

    @rule(step=st.sampled_from([rollout.look, rollout.promote, rollout.roll_back, rollout.stand_down]))
    def a_task_is_cleared(self, step: Callable[..., object]) -> None:
        """As the DAG has it: ``roll_back`` runs only where the record says so."""
        state = self.world.of(self.release)
        decided = state is not None and (state.action == "rollback" or state.status in ("rolling_back", "rolled_back"))
        if state is not None and (step is not rollout.roll_back or decided):
            with suppress(Conflict, Unavailable):
                step(self.world.platform, state.id, self.world.now)

    @rule(stage=st.integers(0, 5))
    def a_stage_is_cleared(self, stage: int) -> None:
        state = self.world.of(self.release)
        if state is not None and stage < len(state.stages):
            with suppress(Conflict, Unavailable):
                rollout.enter(self.world.platform, state.id, stage, self.world.now)

    @rule(hours=st.integers(1, 48))
    def time_passes(self, hours: int) -> None:
        self.world.waited += timedelta(hours=hours)

    @rule(paused=st.booleans(), tasks=st.integers(0, 3))
    def a_person_pauses_or_resumes(self, paused: bool, tasks: int) -> None:
        """While the DAG is at work."""
        with suppress(Conflict):
            rollout.pause(self.world.platform, self.world.model, "ann", self.world.now, paused=paused)
        for _ in range(tasks):
            self.the_dag_goes_on(None)

    @rule(after=st.none() | st.integers(1, 15))
    def a_person_aborts(self, after: int | None) -> None:
        world = self.world
        before = world.open
        world.dies_at = [] if after is None else [world.effects + after]
        with suppress(Crash, Conflict, Unavailable):
            ended = rollout.abort(world.platform, world.model, "ann", "no", world.now)
            world.dies_at = []
            assert before is not None
            assert ended.status == "rolled_back"
            if before.champion is not None:
                world.check_alone(before.champion.version)
        world.dies_at = []

    @rule()
    def a_person_insists(self) -> None:
        state = self.world.open
        if state is not None:
            with suppress(Conflict, Unavailable):
                rollout.promote(self.world.platform, state.id, self.world.now, by="ann", why="now")
                self.world.check_alone(state.challenger.version)

    @rule(after=st.none() | st.integers(1, 20))
    def a_person_goes_back(self, after: int | None) -> None:
        world = self.world
        world.dies_at = [] if after is None else [world.effects + after]
        with suppress(Crash, Conflict, Unavailable):
            rollout.revert(world.platform, world.model, "ann", "bad", world.now)
        world.dies_at = []

    @rule()
    def the_next_release_is_approved(self) -> None:
        if self.world.open is None and self.world.versions < 5:
            self.release = self.world.approve()

    @rule(n=REPLICA)
    def a_replica_is_killed(self, n: int) -> None:
        self.world.replicas[n].kill()

    @rule(n=REPLICA)
    def a_replica_hangs(self, n: int) -> None:
        self.world.replicas[n].hang()

    @rule(n=REPLICA)
    def a_replica_comes_back(self, n: int) -> None:
        self.world.replicas[n].come_back()
        self.world.check("a replica came back")

    @rule(n=REPLICA)
    def a_replica_is_replaced(self, n: int) -> None:
        """By one that knows nothing."""
        replica: Replica = self.world.replicas[n]
        replica.kill()
        replica.routes.clear()
        replica.tripped.clear()
        replica.come_back()

    @rule(n=REPLICA, guardrail=GUARDRAILS)
    def a_guardrail_trips(self, n: int, guardrail: str) -> None:
        replica = self.world.replicas[n]
        kept = replica.routes.get(self.world.model)
        if replica.up and kept is not None and kept[1].challenger is not None:
            replica.tripped[self.world.model] = guardrail

    @invariant()
    def the_records_are_sound(self) -> None:
        self.world.check("a rule")
        self.world.check_records()

    def teardown(self) -> None:
        """Once all replicas are back and nobody holds it, it comes to an end, and everybody is answered by one."""
        world = self.world
        for replica in world.replicas:
            replica.come_back()
        with suppress(Conflict):
            rollout.pause(world.platform, world.model, "ann", world.now, paused=False)
        for _ in range(60):
            if world.open is None:
                break
            world.waited += timedelta(hours=1)
            state = world.open
            with suppress(ModelyardError):
                if state.action == "ask":
                    rollout.abort(world.platform, world.model, "ann", "undecided", world.now)
                else:
                    world.go_on(state)
        rollout.restore(world.platform, world.model, world.now)
        world.check_alone()
        world.check_records()
        for release, state in world.ledger.releases.history(world.model):
            if state == "quarantined":
                with pytest.raises(NotApproved):
                    rollout.start(world.platform, release.digest, world.now)
        self.folder.cleanup()


@pytest.mark.parametrize("strategy", ["canary", "blue_green", "shadow", "ab_test", "fast_track"])
def test_whatever_happens(strategy: str) -> None:
    machine = type(strategy, (Rollouts,), {"strategy": strategy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck),
            derandomize=True, phases=[Phase.generate],
        ),
    )  # fmt: skip
