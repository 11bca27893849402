"""The rehearsed way back: refused where it must be, on record, and never the end of the champion."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fixtures.platforms import Crash
from fixtures.rollout_drive import NOW
from fixtures.rollout_world import World

from modelyard.core.errors import Conflict, Unavailable
from modelyard.flows import rollout
from modelyard.flows.drill import drill, drills


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
    ((_, _, incident),) = world.ledger.journal.incidents(world.model, open_only=True)
    assert "`modelyard rollout drill delays`" in incident.next_step
    world.replicas[1].come_back()
    drill(world.platform, world.model, "ann", Ticking())
    assert world.ledger.journal.incidents(world.model, open_only=True) == []
    world.check_alone(2)


def test_one_that_dies_half_way_is_made_good_by_the_next(world: World) -> None:
    begun = world.effects
    for effect in range(1, 60):
        one = world.fork()
        one.dies_at = [begun + effect]
        try:
            drill(one.platform, one.model, "ann", Ticking())
        except Crash:
            drill(one.platform, one.model, "ann", Ticking())
            one.check_alone(2)
        else:
            break
    assert effect > 8
