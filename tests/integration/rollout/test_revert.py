"""The way back after a promotion: from one command, whatever dies in between, and for good."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest
from fixtures.platforms import FakePlatform, crashing, release_for
from fixtures.rollout_drive import NOW, Clock, again, drive, outcome, promoted

from modelyard.core.errors import Conflict, IntegrityError, NotApproved, NotFound, Unavailable
from modelyard.flows import gate, rollout

Make = Callable[[str], FakePlatform]
LATER = NOW + timedelta(days=2)
REVERTED = {
    "champion": 1, "status": "promoted", "open": None, "release": "quarantined", "replicas": {(True, True, None, 0)},
    "acks": True, "audit": ["rollout opened", "rollout promote", "rollout revert", "rollout revert begun"],
    "decisions": ["promote", "revert"], "incidents": ["rollout"], "aliases": {"champion": 1},
    "tag": {"modelyard.state": "quarantined"},
}  # fmt: skip


def test_a_crash_after_any_write_leads_to_the_same_end(make: Make) -> None:
    for after in range(1, 60):
        model = f"back_{after}"
        platform = make(model)
        promoted(platform, model, 1)
        bad = promoted(platform, model, 2)
        dying = crashing(platform, after)
        state = again(lambda d=dying, m=model: rollout.revert(d, m, "ann", "hours for minutes", LATER))  # type: ignore[misc]
        assert (state.strategy, state.decided_by) == ("revert", "ann")
        assert state.summary == f"{model} version 1: promoted in place of version 2: reverted by ann: hours for minutes"
        assert outcome(platform, model, bad) == REVERTED, f"after write {after}"
        if dying.ledger._budget[0] > 0:
            break
    assert after > 12


def test_what_was_left_is_never_picked_up_again(make: Make) -> None:
    model = "back_for_good"
    platform = make(model)
    promoted(platform, model, 1)
    bad = promoted(platform, model, 2)
    (_, old_rollout) = (body["id"] for body in platform.ledger.rollouts.history(model))
    rollout.revert(platform, model, "ann", "bad", LATER)
    with pytest.raises(NotApproved, match="quarantined"):
        rollout.start(platform, bad, LATER)
    with pytest.raises(Conflict, match="quarantined"):
        gate.assess(platform, bad, [], LATER)  # type: ignore[arg-type]
    # A run that is cleared goes through its steps again: all of them are done already, none is undone.
    for step in (rollout.promote, rollout.look):
        assert step(platform, old_rollout, LATER).status == "promoted"
    rollout.restore(platform, model, LATER)
    assert outcome(platform, model, bad) == REVERTED
    with pytest.raises(Conflict, match="quarantined and is never taken up again"):
        rollout.revert(platform, model, "ann", "on second thoughts", LATER, to=2)


def test_once_more_is_the_same_and_further_back_is_named(make: Make) -> None:
    model = "back_further"
    platform = make(model)
    for version in (1, 2, 3):
        promoted(platform, model, version)
    once = rollout.revert(platform, model, "ann", "bad", LATER)
    assert rollout.revert(platform, model, "ben", "bad!", LATER) == once
    assert rollout.revert(platform, model, "ben", "bad!", LATER, to=2) == once
    assert platform.tracking.aliases(model) == {"champion": 2, "previous": 1}
    further = rollout.revert(platform, model, "ann", "this one too", LATER + timedelta(1), to=1)
    assert (further.challenger.version, further.champion.version) == (1, 2)
    assert [s for _, s in platform.ledger.releases.history(model)] == ["ready", "quarantined", "quarantined"]
    assert platform.tracking.aliases(model) == {"champion": 1}


def test_life_goes_on_after_it(make: Make) -> None:
    model = "back_forward"
    platform = make(model)
    promoted(platform, model, 1)
    promoted(platform, model, 2)
    rollout.revert(platform, model, "ann", "bad", LATER)
    third = release_for(platform, model, 3, LATER)
    platform.predictions.now = LATER + timedelta(days=2)
    assert drive(platform, third, Clock(hours=72)).status == "promoted"
    assert platform.tracking.aliases(model) == {"champion": 3, "previous": 1}
    assert rollout.revert(platform, model, "ann", "bad too", LATER + timedelta(9)).challenger.version == 1


def test_a_version_that_was_passed_over_is_not_said_to_be_promoted(make: Make) -> None:
    model = "back_over"
    platform = make(model)
    _, second, _ = (promoted(platform, model, version) for version in (1, 2, 3))
    rollout.revert(platform, model, "ann", "both are bad", LATER, to=1)
    assert platform.ledger.releases.state(second) == "ready"
    with pytest.raises(Conflict, match="was promoted and left"):
        rollout.start(platform, second, LATER)


def test_an_old_wish_is_not_about_a_champion_that_was_crowned_since(make: Make) -> None:
    model = "back_stale"
    platform = make(model)
    promoted(platform, model, 1)
    second = promoted(platform, model, 2)
    with pytest.raises(Conflict, match="version 2 of back_stale has become champion since this was asked for"):
        rollout.revert(platform, model, "ann", "version 1 is bad", LATER, asked=NOW - timedelta(hours=1))
    assert platform.ledger.releases.champion(model).digest == second
    assert rollout.revert(platform, model, "ann", "version 2 is bad", LATER, asked=LATER).status == "promoted"


def test_what_cannot_be_gone_back_to_is_refused_and_changes_nothing(make: Make) -> None:
    model = "back_refused"
    platform = make(model)
    with pytest.raises(Conflict, match="no champion to go back from"):
        rollout.revert(platform, model, "ann", "why", LATER)
    promoted(platform, model, 1)
    with pytest.raises(Conflict, match="no champion of back_refused before version 1"):
        rollout.revert(platform, model, "ann", "why", LATER)
    promoted(platform, model, 2)
    third = release_for(platform, model, 3, NOW)
    with pytest.raises(Conflict, match=r"version 3 of back_refused never was champion \(those that were: 1, 2\)"):
        rollout.revert(platform, model, "ann", "why", LATER, to=3)
    with pytest.raises(Conflict, match="is the champion already"):
        rollout.revert(platform, model, "ann", "why", LATER, to=2)
    with pytest.raises(NotFound):
        rollout.revert(platform, model, "ann", "why", LATER, to=9)
    opened = rollout.start(platform, third, LATER)
    with pytest.raises(Conflict, match=f"{opened.id} is open: `modelyard rollout abort {model}`"):
        rollout.revert(platform, model, "ann", "why", LATER)
    rollout.abort(platform, model, "ann", "out of the way", LATER)
    before = platform.ledger.rollouts.route(model)
    shutil.rmtree(platform.settings.root / "bundles" / f"{model}-1")
    with pytest.raises(IntegrityError, match="absent"):
        rollout.revert(platform, model, "ann", "why", LATER)
    assert platform.ledger.rollouts.route(model) == before
    assert platform.ledger.rollouts.current(model) is None
    assert platform.ledger.releases.champion(model).version == 2


def test_a_revert_that_a_replica_keeps_from_its_end_goes_on_or_is_called_off(make: Make) -> None:
    model = "back_stuck"
    platform = make(model)
    first, second = (promoted(platform, model, version) for version in (1, 2))
    silent = platform.fleet.replicas[1]
    silent.up = False
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.revert(platform, model, "ann", "bad", LATER)
    assert platform.fleet.replicas[0].state(model).champion == first  # whoever can be protected is
    assert platform.ledger.releases.champion(model).digest == second
    (incident,) = (i for _, s, i in platform.ledger.journal.incidents(model) if s == "open")
    assert f"`modelyard rollout revert {model}` or `modelyard rollout abort {model}`" in incident.next_step
    with pytest.raises(Conflict, match=f"a revert to version 1 of {model} is open"):
        rollout.revert(platform, model, "ann", "bad", LATER, to=2)
    silent.up = True
    ended = rollout.abort(platform, model, "ben", "it was the clients", LATER)
    assert (ended.status, platform.ledger.releases.champion(model).digest) == ("rolled_back", second)
    assert {s.champion for s in platform.fleet.state(model).values()} == {second}
    assert {s for _, s in platform.ledger.releases.history(model)} == {"ready"}
    assert rollout.revert(platform, model, "ann", "it was not", LATER + timedelta(1)).status == "promoted"
    assert platform.ledger.releases.champion(model).digest == first
