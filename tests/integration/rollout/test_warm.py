"""Which version the wanted route keeps warm, and how long: what the champion has replaced, for the policy's time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from fixtures.rollout_world import World

from modelyard.flows import rollout
from modelyard.flows.drill import drill
from modelyard.flows.fleet import follow
from modelyard.ports.fleet import Route

WEEK = timedelta(hours=168)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Version 2 is champion, version 1 was before it."""
    made = World(tmp_path, "canary")
    made.run_out(made.approve())
    made.rehearsing = True
    return made


def wanted(world: World) -> Route:
    return Route.model_validate(world.ledger.rollouts.route(world.model)[1])


def warm(world: World) -> int | None:
    found = wanted(world).warm
    return None if found is None else found.version


def test_what_was_replaced_is_kept_for_the_time_of_its_policy_and_over_the_next_rollout(world: World) -> None:
    promotion = rollout.history(world.platform, world.model)[-1]
    assert (warm(world), wanted(world).warm_until) == (1, promotion.decided_at + WEEK)
    opened = rollout.start(world.platform, world.approve(), world.now)
    rollout.enter(world.platform, opened.id, 0, world.now)
    assert (wanted(world).weight, warm(world)) == (500, 1)
    rollout.promote(world.platform, opened.id, world.now, by="ann", why="a test")
    assert (wanted(world).champion.version, warm(world)) == (3, 2)
    # The same again wants the same, and afterwards nothing is kept.
    generation, body = world.ledger.rollouts.route(world.model)
    alone = Route(model=world.model, champion=wanted(world).champion)
    follow(world.platform, alone, world.now)
    assert world.ledger.rollouts.route(world.model) == (generation, body)
    follow(world.platform, alone, world.now + WEEK)
    assert warm(world) is None


def test_a_drill_keeps_it_and_what_a_revert_has_left_is_not_kept(world: World) -> None:
    drill(world.platform, world.model, "ann", lambda: world.now)
    assert (wanted(world).champion.version, warm(world)) == (2, 1)
    rollout.revert(world.platform, world.model, "ann", "bad", world.now)
    assert (wanted(world).champion.version, warm(world)) == (1, None)
