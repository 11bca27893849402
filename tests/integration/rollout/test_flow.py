"""The rollout's steps on the real ledger: each may be repeated, and a crash anywhere leads to the same end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from fixtures.platforms import FakePlatform, crashing, release_for, verdict
from fixtures.rollout_drive import NOW, Clock, drive, outcome, promoted

from modelyard.core.errors import Conflict, NotApproved, Unavailable
from modelyard.flows import rollout
from modelyard.rollout.state import RolloutState


def first(platform: FakePlatform, model: str) -> str:
    """Version 1, promoted."""
    return promoted(platform, model, 1)


GOOD = {
    "champion": 2, "status": "promoted", "open": None, "release": "ready", "replicas": {(True, True, None, 0)},
    "acks": True, "audit": ["rollout opened", "rollout promote"], "decisions": ["promote"], "incidents": [],
    "aliases": {"champion": 2, "previous": 1}, "tag": None,
}  # fmt: skip
BAD = GOOD | {
    "champion": 1, "status": "rolled_back", "release": "quarantined", "audit": ["rollout opened", "rollout rollback"],
    "decisions": ["rollback"], "incidents": ["rollout"], "aliases": {"champion": 1},
    "tag": {"modelyard.state": "quarantined"},
}  # fmt: skip


@pytest.mark.parametrize(("worse", "expected"), [(0.0, GOOD), (2.0, BAD)], ids=["good", "bad"])
def test_a_crash_after_any_write_leads_to_the_same_end(
    make: Callable[[str], FakePlatform], worse: float, expected: dict[str, object]
) -> None:
    for after in range(1, 100):
        model = f"delays_{'good' if expected is GOOD else 'bad'}_{after}"
        platform = make(model)
        first(platform, model)
        release = release_for(platform, model, 2, NOW)
        platform.predictions.worse = worse
        dying = crashing(platform, after)
        drive(dying, release, Clock(hours=1))
        assert outcome(platform, model, release) == expected, f"after write {after}"
        if dying.ledger._budget[0] > 0:
            break
    else:
        pytest.fail("the rollout never came to its end without a crash")
    assert after > 20


def test_the_first_release_serves_everybody_once_it_answers(make: Callable[[str], FakePlatform]) -> None:
    platform = make("delays_first")
    release = first(platform, "delays_first")
    state = RolloutState.model_validate(platform.ledger.rollouts.history("delays_first")[0])
    assert (state.strategy, len(state.stages)) == ("first", 1)
    assert platform.ledger.releases.champion("delays_first").digest == release
    assert rollout.start(platform, release, NOW).id == state.id


def test_a_trip_on_one_replica_ends_it_everywhere(make: Callable[[str], FakePlatform]) -> None:
    model = "delays_trip"
    platform = make(model)
    first(platform, model)
    release, clock = release_for(platform, model, 2, NOW), Clock()
    state = rollout.enter(platform, rollout.start(platform, release, clock()).id, 0, clock())
    assert {s.weight for s in platform.fleet.state(model).values()} == {500}
    platform.fleet.replicas[1].tripped[model] = "error_rate"
    state = rollout.look(platform, state.id, clock())
    assert (state.status, state.action) == ("rolling_back", "rollback")
    assert {s.challenger for s in platform.fleet.state(model).values()} == {None}
    assert "gateway-2: error_rate" in rollout.roll_back(platform, state.id, clock()).reason
    assert outcome(platform, model, release)["release"] == "quarantined"
    with pytest.raises(NotApproved, match="quarantined"):
        rollout.start(platform, release, clock())


def test_without_traffic_it_holds_and_the_deadline_ends_it(make: Callable[[str], FakePlatform]) -> None:
    model = "delays_quiet"
    platform = make(model)
    first(platform, model)
    platform.predictions.rows = 0
    release = release_for(platform, model, 2, NOW)
    state = rollout.enter(platform, rollout.start(platform, release, NOW).id, 0, NOW)
    assert rollout.look(platform, state.id, NOW + timedelta(seconds=3599)).action == "hold"
    state = rollout.look(platform, state.id, NOW + timedelta(seconds=3600))
    assert state.status == "rolling_back"
    assert "came to nothing" in state.reason


def test_a_silent_replica_is_no_excuse_and_is_brought_back(make: Callable[[str], FakePlatform]) -> None:
    model = "delays_silent"
    platform = make(model)
    first(platform, model)
    release = release_for(platform, model, 2, NOW)
    opened, silent = rollout.start(platform, release, NOW), platform.fleet.replicas[1]
    silent.up = False
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.enter(platform, opened.id, 0, NOW)
    assert rollout.read(platform, opened.id).stage == -1
    silent.up = True
    state = rollout.enter(platform, opened.id, 0, NOW)
    silent.routes.clear()  # started anew without its state
    rollout.look(platform, state.id, NOW + timedelta(seconds=61))
    assert platform.fleet.state(model)["gateway-2"].weight == 500


def test_only_what_was_approved_for_its_newest_evidence_is_rolled_out(make: Callable[[str], FakePlatform]) -> None:
    model = "delays_gov"
    platform = make(model)
    release = release_for(platform, model, 1, NOW, approve=False)
    with pytest.raises(NotApproved, match="governance has not decided"):
        rollout.start(platform, release, NOW)
    gates = platform.ledger.journal.decisions(model, "gates", release)[-1]
    platform.ledger.journal.decide(verdict("governance", "reject", model, release, NOW, gates.digest))
    with pytest.raises(NotApproved, match="not approved"):
        rollout.start(platform, release, NOW)
    platform.ledger.journal.decide(verdict("governance", "approve", model, release, NOW, gates.digest))
    newer = verdict("gates", "ready", model, release, NOW + timedelta(hours=1))
    platform.ledger.journal.decide(newer)
    with pytest.raises(NotApproved, match="decided anew"):
        rollout.start(platform, release, NOW)
    platform.ledger.releases.mark(release, "candidate", "asked anew")
    with pytest.raises(NotApproved, match="not ready"):
        rollout.start(platform, release, NOW)


def test_a_champion_crowned_since_the_approval_voids_it(make: Callable[[str], FakePlatform]) -> None:
    model = "delays_race"
    platform = make(model)
    first(platform, model)
    second, third = (release_for(platform, model, version, NOW) for version in (2, 3))
    assert drive(platform, second, Clock()).status == "promoted"
    with pytest.raises(NotApproved, match="did not compare with the present champion, version 2"):
        rollout.start(platform, third, NOW)
    assert rollout.start(platform, second, NOW).status == "promoted"  # asked again: its own rollout


def test_by_hand(make: Callable[[str], FakePlatform]) -> None:
    model = "delays_hand"
    platform = make(model)
    first(platform, model)
    release = release_for(platform, model, 2, NOW)
    opened = rollout.start(platform, release, NOW)
    rollout.enter(platform, opened.id, 0, NOW)
    rollout.pause(platform, model, "ann", NOW)
    assert rollout.look(platform, opened.id, NOW + timedelta(seconds=61)).action == "hold"
    rollout.pause(platform, model, "ann", NOW, paused=False)
    with pytest.raises(Conflict, match="not earned"):
        rollout.promote(platform, opened.id, NOW)
    state = rollout.promote(platform, opened.id, NOW, by="ann", why="the board says so")
    assert (state.status, state.decided_by) == ("promoted", "ann")
    assert "manual override by ann" in platform.ledger.journal.audit_log(model)[-1][1].reason
    third = release_for(platform, model, 3, NOW)
    rollout.enter(platform, rollout.start(platform, third, NOW).id, 0, NOW)
    assert rollout.abort(platform, model, "ann", "wrong day", NOW).status == "rolled_back"
    assert outcome(platform, model, third)["champion"] == 2
