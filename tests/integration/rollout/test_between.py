"""Between two steps: a trip, a deadline, a pause and a crash are heard also while nobody looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fixtures.platforms import Crash, FakePlatform, crashing, release_for
from fixtures.rollout_drive import NOW, outcome, promoted

from modelyard.core.errors import Conflict, Unavailable
from modelyard.flows import rollout
from modelyard.ports.fleet import ReplicaState, Route
from modelyard.rollout.state import RolloutState

Make = Callable[[str], FakePlatform]


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def advancing(platform: FakePlatform, model: str) -> RolloutState:
    """Version 2 has passed its first stage, whose deadline is at 3600 s; the next one was tried with a replica away."""
    promoted(platform, model, 1)
    opened = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    rollout.enter(platform, opened.id, 0, NOW)
    assert rollout.look(platform, opened.id, at(61)).action == "advance"
    platform.fleet.replicas[1].up = False
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.enter(platform, opened.id, 1, at(62))
    return rollout.read(platform, opened.id)


def test_a_trip_is_heard_while_the_next_stage_cannot_be_entered(make: Make) -> None:
    model = "between_trip"
    platform = make(model)
    state = advancing(platform, model)
    platform.fleet.replicas[0].tripped[model] = "error_rate"
    state = rollout.enter(platform, state.id, 1, at(120))
    assert state.status == "rolling_back"
    assert "before stage 1 was entered (gateway-1: error_rate)" in state.reason
    assert platform.fleet.replicas[0].state(model).challenger is None  # at once; the other one when it is back
    platform.fleet.replicas[1].up = True
    assert rollout.roll_back(platform, state.id, at(180)).status == "rolled_back"
    assert outcome(platform, model, state.release)["release"] == "quarantined"


def test_the_deadline_holds_while_the_next_stage_cannot_be_entered(make: Make) -> None:
    model = "between_late"
    platform = make(model)
    state = advancing(platform, model)
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.enter(platform, state.id, 1, at(3599))
    state = rollout.enter(platform, state.id, 1, at(3600))
    assert state.status == "rolling_back"
    assert "could not be entered before the deadline" in state.reason


def test_a_deadline_that_asks_asks_and_goes_on_trying(make: Make) -> None:
    model = "between_ask"
    platform = make(model)
    policy = Path(platform.settings.policies) / "rollout.yaml"
    policy.write_text(policy.read_text().replace("on_deadline: rollback", "on_deadline: ask"))
    state = advancing(platform, model)
    for second in (3600, 3660):
        with pytest.raises(Unavailable, match="gateway-2"):
            rollout.enter(platform, state.id, 1, at(second))
    ((_, _, incident),) = platform.ledger.journal.incidents(model)
    assert "stage 1 could not be entered" in incident.detail
    platform.fleet.replicas[1].up = True
    assert rollout.enter(platform, state.id, 1, at(3720)).stage == 1


def test_a_stage_that_was_passed_late_may_be_entered(make: Make) -> None:
    model = "between_passed_late"
    platform = make(model)
    promoted(platform, model, 1)
    opened = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    rollout.enter(platform, opened.id, 0, NOW)
    assert rollout.look(platform, opened.id, at(4000)).action == "advance"
    assert rollout.enter(platform, opened.id, 1, at(4100)).stage == 1


def test_a_first_entry_that_is_undone_forgets_no_trip(make: Make) -> None:
    model = "between_first"
    platform = make(model)
    promoted(platform, model, 1)
    opened, (one, two) = rollout.start(platform, release_for(platform, model, 2, NOW), NOW), platform.fleet.replicas
    two.up = False
    with pytest.raises(Unavailable, match="gateway-2"):
        rollout.enter(platform, opened.id, 0, NOW)
    _, route = one.routes[model]
    assert (route.rollout, route.weight, route.paired) == (opened.id, 0, False)
    assert route.guardrails
    one.tripped[model] = "error_rate"  # of the seconds in which it answered
    two.up = True
    assert rollout.enter(platform, opened.id, 0, at(60)).status == "rolling_back"


def test_a_pause_while_replicas_load_leaves_the_split_as_it_was(make: Make) -> None:
    model = "between_pause"
    platform = make(model)
    state = advancing(platform, model)
    platform.fleet.replicas[1].up = True
    fleet, apply = platform.fleet, platform.fleet.apply

    def slow(route: Route, generation: int) -> dict[str, ReplicaState]:
        fleet.apply = apply
        rollout.pause(platform, model, "ann", at(100))
        return apply(route, generation)  # type: ignore[no-any-return]

    fleet.apply = slow
    with pytest.raises(Conflict, match="changed by somebody else"):
        rollout.enter(platform, state.id, 1, at(100))
    assert {s.weight for s in fleet.state(model).values()} == {500}
    with pytest.raises(Conflict, match=f"`modelyard rollout resume {model}`"):
        rollout.enter(platform, state.id, 1, at(4000))  # and no deadline passes
    rollout.pause(platform, model, "ann", at(4100), paused=False)
    rollout.pause(platform, model, "ann", at(4101))
    fleet.replicas[0].tripped[model] = "error_rate"  # what has tripped ends it all the same
    assert rollout.enter(platform, state.id, 1, at(4102)).status == "rolling_back"


def crashed_look(platform: FakePlatform, state: RolloutState, second: float) -> None:
    """A look that is on record, and of which the state says nothing."""
    with pytest.raises(Crash):
        rollout.look(crashing(platform, 1), state.id, at(second))
    assert rollout.read(platform, state.id).looks == 0


def test_a_look_on_record_is_what_is_acted_on(make: Make) -> None:
    model = "between_record"
    platform = make(model)
    promoted(platform, model, 1)
    opened = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    state = rollout.enter(platform, opened.id, 0, NOW)
    crashed_look(platform, state, 61)  # it advanced
    platform.predictions.rows = 0  # and a look now would hold
    state = rollout.look(platform, state.id, at(122))
    assert (state.action, state.looks) == ("advance", 1)
    assert [run.action for run in platform.ledger.rollouts.looks(state.id)] == ["advance"]


def test_what_is_found_after_a_crash_is_a_look_of_its_own(make: Make) -> None:
    model = "between_next"
    platform = make(model)
    promoted(platform, model, 1)
    opened = rollout.start(platform, release_for(platform, model, 2, NOW), NOW)
    state = rollout.enter(platform, opened.id, 0, NOW)
    crashed_look(platform, state, 30)  # it held: too early
    platform.fleet.replicas[0].tripped[model] = "error_rate"
    state = rollout.look(platform, state.id, at(90))
    assert (state.status, state.looks) == ("rolling_back", 2)
    assert [run.action for run in platform.ledger.rollouts.looks(state.id)] == ["hold", "rollback"]
