"""The rehearsed way back: refused where it must be, on record, and never the end of the champion."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fixtures.platforms import Crash
from fixtures.rollout_drive import NOW
from fixtures.rollout_world import World

from modelyard.core.errors import Conflict, ModelyardError, Unavailable
from modelyard.flows import rollout
from modelyard.flows.drill import DONE, FINISHED, drill, drills, obstacle


class Ticking:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = NOW + timedelta(days=9)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Version 2 is champion, version 1 was before it."""
    made = World(tmp_path, "canary")
    assert made.run_out(made.approve()).status == "promoted"
    made.rehearsing = True
    return made


def test_back_and_forward_on_every_replica_and_on_record(world: World) -> None:
    champions: list[set[int]] = []
    world.replicas[1].made = lambda _: champions.append(set(world.answering_versions()))
    done = drill(world.platform, world.model, "ann", Ticking())
    assert champions == [{1}, {2}]  # once the second replica follows, too
    assert (done.detail["back_s"], done.detail["forward_s"]) == (1.0, 1.0)
    assert done.reason == "back to version 1 in 1.000 s, forward to 2 in 1.000 s"
    assert drills(world.platform, world.model) == [done]
    world.check_alone(2)
    assert [state for _, state in world.ledger.releases.history(world.model)] == ["ready", "ready"]
    assert world.tracking.aliases(world.model) == {"champion": 2, "previous": 1}


def test_it_is_refused_while_a_rollout_is_open_and_without_a_way_back(world: World, tmp_path: Path) -> None:
    release, world.rehearsing = world.approve(), False
    rollout.start(world.platform, release, world.now)
    before = world.ledger.rollouts.route(world.model)
    with pytest.raises(Conflict, match="is open; a drill waits"):
        drill(world.platform, world.model, "ann", Ticking())
    assert world.ledger.rollouts.route(world.model) == before
    with pytest.raises(Conflict, match="nothing to drill"):
        drill(World(tmp_path / "new", "canary").platform, world.model, "ann", Ticking())
    assert drills(world.platform, world.model) == []


def test_a_replica_that_is_away_fails_it_and_the_champion_answers(world: World) -> None:
    world.replicas[1].kill()
    with pytest.raises(Unavailable, match="gateway-2"):
        drill(world.platform, world.model, "ann", Ticking())
    assert world.replicas[0].state(world.model).champion == world.ledger.releases.champion(world.model).digest
    failed, left = (incident for _, _, incident in world.ledger.journal.incidents(world.model, open_only=True))
    assert "version 1 may be answering instead of 2" in failed.title  # the replica that is away may come back to it
    assert all("`modelyard rollout drill delays`" in incident.next_step for incident in (failed, left))
    world.replicas[1].come_back()
    assert drill(world.platform, world.model, "ann", Ticking()).action == FINISHED
    ((_, _, incident),) = world.ledger.journal.incidents(world.model, open_only=True)
    assert "the drill of the way back failed" in incident.title  # until one has succeeded
    assert drill(world.platform, world.model, "ann", Ticking()).action == DONE
    assert world.ledger.journal.incidents(world.model, open_only=True) == []
    world.check_alone(2)


def under_way(world: World) -> list[str]:
    open_ones = world.ledger.journal.incidents(world.model, open_only=True)
    return [incident.title for _, _, incident in open_ones if incident.key.startswith("drill-under-way")]


def test_one_that_dies_half_way_is_ended_forward_by_the_next(world: World) -> None:
    begun, reached = world.effects, set()
    for effect in range(1, 60):
        one = world.fork()
        one.dies_at = [begun + effect]
        try:
            drill(one.platform, one.model, "ann", Ticking())
        except Crash:
            left = set(one.answering_versions())
            reached |= left
            # Nobody but the champion answers without an incident that says so.
            assert left == {2} or under_way(one) == ["delays: version 1 may be answering instead of 2"]
            wanted = one.ledger.rollouts.route(one.model)
            done = drill(one.platform, one.model, "ben", Ticking())
            if left != {2}:
                assert (done.action, done.detail.get("back_s")) == (FINISHED, None)
                assert one.ledger.rollouts.route(one.model)[0] - wanted[0] in (0, 1)  # forward, and not back again
            assert under_way(one) == []
            one.check_alone(2)
        else:
            break
    assert effect > 8
    assert reached == {1, 2}


def test_whatever_a_person_decides_during_a_drill_holds(world: World) -> None:
    """A revert that is made between the way back and the way forward is not undone by the latter."""
    world.replicas[1].made = lambda _: None

    def reverted(_: str) -> None:
        world.replicas[1].made = lambda _: None
        rollout.revert(world.platform, world.model, "ben", "it was wrong", world.now)

    world.replicas[1].made = reverted
    with suppress(ModelyardError):  # its probe, or its way forward, may find the other version there
        drill(world.platform, world.model, "ann", Ticking())
    world.check_alone(1)
    assert under_way(world) == []
    assert world.ledger.releases.champion(world.model).version == 1


def test_a_drill_that_died_is_ended_although_a_rollout_is_open_by_then(world: World) -> None:
    world.replicas[1].made = killing
    with pytest.raises(Crash):
        drill(world.platform, world.model, "ann", Ticking())
    assert set(world.answering_versions()) == {1}
    world.replicas[1].made = lambda _: None
    rollout.start(world.platform, world.approve(), world.now)
    assert obstacle(world.platform, world.model) == ""
    assert drill(world.platform, world.model, "ann", Ticking()).action == FINISHED
    assert set(world.answering_versions()) == {2}
    assert "a drill waits" in obstacle(world.platform, world.model)


def killing(_: str) -> None:
    raise Crash
