"""Each strategy, with the process dying after any write or call, as often as it likes: always the same end.

All worlds that can be reached are visited. A world is what is on record and what every replica does; from each, the
DAG's next task is let through once, and killed once after each of its effects. Worlds that are alike are visited once,
so that this covers two deaths in a row, and any number of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.rollout_world import World
from fixtures.strategies import stage, use

from modelyard.rollout.state import RolloutState

CASES = {
    "canary": ("canary", "alike", "promoted"),
    "canary, bad": ("canary", "worse", "rolled_back"),
    "blue_green": ("blue_green", "alike", "promoted"),
    "shadow": ("shadow", "alike", "concluded"),
    "ab_test": ("ab_test", "alike", "promoted"),
    "fast_track": ("fast_track", "better", "promoted"),
}


def all_ends(world: World, release: str) -> tuple[int, list[tuple[World, RolloutState]]]:
    """How many worlds there are, and those in which the rollout has ended."""
    seen: set[str] = set()
    ends, waiting = [], [world]
    while waiting:
        world = waiting.pop()
        if (name := world.fingerprint()) in seen:
            continue
        seen.add(name)
        through = world.fork()
        state = through.task(release)
        assert state is not None
        if state.closed and world.open is None:
            ends.append((through, state))  # the task found all done, and has changed nothing
            assert through.effects - world.effects <= 1
            continue
        waiting.append(through)
        for effect in range(1, through.effects - world.effects + 1):
            killed = world.fork()
            killed.dies_at = [killed.effects + effect]
            assert killed.task(release) is None
            waiting.append(killed)
    return len(seen), ends


@pytest.mark.parametrize("case", CASES)
def test_whenever_it_dies_and_however_often(tmp_path: Path, case: str) -> None:
    strategy, kind, end = CASES[case]
    world = World(tmp_path, strategy)
    if strategy == "fast_track":  # fewer stages than the ladder has: each of them multiplies the worlds
        use(world.platform, strategy, stages=[stage(weight) for weight in (10, 25, 50, 100)])
    world.log.kind = kind
    for replica in world.replicas:
        replica.errors = 400.0 if kind == "better" else 0.0
    release = world.approve()
    worlds, ends = all_ends(world, release)
    assert worlds > 30
    for ended, state in ends:
        assert state.status == end
        ended.check_records()
        ended.check_alone(2 if end == "promoted" else 1)
        assert ended.ledger.releases.state(release) == ("quarantined" if end == "rolled_back" else "ready")
        if strategy == "fast_track":
            assert [e.stage for e in state.events if e.kind == "entered"] == [0, 1, 3]
