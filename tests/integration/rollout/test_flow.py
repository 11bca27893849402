"""The rollout's steps on the real ledger: each may be repeated, and a crash anywhere leads to the same end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.platforms import Crash, FakePlatform, crashing, release_for, verdict, write_project
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.core.errors import Conflict, NotApproved, Unavailable
from modelyard.flows import rollout
from modelyard.rollout.state import RolloutState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A minute passes whenever somebody looks."""

    def __init__(self, hours: int = 0) -> None:
        self.now = NOW + timedelta(hours=hours)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=61)
        return self.now


@pytest.fixture(scope="module")
def ledger(ledger_engine: Engine) -> PostgresLedger:
    return PostgresLedger(ledger_engine)


@pytest.fixture
def make(tmp_path: Path, ledger: PostgresLedger) -> Iterator[Callable[[str], FakePlatform]]:
    """A platform for a model with a champion (version 1) and an approved release (version 2)."""

    def one(model: str) -> FakePlatform:
        platform = FakePlatform(write_project(tmp_path, model), ledger)
        platform.predictions.now = NOW + timedelta(days=1)
        return platform

    return one


def first(platform: FakePlatform, model: str) -> str:
    """Version 1, promoted."""
    release = release_for(platform, model, 1, NOW)
    assert drive(platform, release, Clock()).status == "promoted"
    return release


def drive(platform: FakePlatform, release: str, clock: Clock) -> RolloutState:
    """What the DAG does: steps in order, each repeated when the process died in it."""

    def step(do: Callable[..., RolloutState], *what: object) -> RolloutState:
        while True:
            with suppress(Crash):
                return do(platform, *what, clock())

    state = step(rollout.start, release)
    for stage in range(len(state.stages)):
        if state.status in ("pending", "running"):
            state = step(rollout.enter, state.id, stage)
        while state.status == "running" and state.action == "hold":
            state = step(rollout.look, state.id)
    return step(rollout.roll_back if state.status == "rolling_back" else rollout.promote, state.id)


def outcome(platform: FakePlatform, model: str, release: str) -> dict[str, object]:
    """Everything that must be the same however often the process died."""
    ledger = platform.ledger
    champion = ledger.releases.champion(model)
    state = RolloutState.model_validate(ledger.rollouts.history(model)[-1])
    generation, _ = ledger.rollouts.route(model)
    states = platform.fleet.state(model)
    return {
        "champion": champion.version,
        "status": state.status,
        "open": ledger.rollouts.current(model),
        "release": ledger.releases.state(release),
        "replicas": {
            (s.generation == generation, s.champion == champion.digest, s.challenger, s.weight) for s in states.values()
        },
        "acks": set(ledger.rollouts.acks(model).values()) == {generation},
        "audit": sorted(e.action for _, e in ledger.journal.audit_log(model) if e.subject == release),
        "decisions": [d.action for d in ledger.journal.decisions(model, "rollout", release)],
        "incidents": [i.kind for _, _, i in ledger.journal.incidents(model)],
        "aliases": platform.tracking.aliases(model),
    }


GOOD = {
    "champion": 2, "status": "promoted", "open": None, "release": "ready", "replicas": {(True, True, None, 0)},
    "acks": True, "audit": ["rollout opened", "rollout promote"], "decisions": ["promote"], "incidents": [],
    "aliases": {"champion": 2, "previous": 1},
}  # fmt: skip
BAD = GOOD | {
    "champion": 1, "status": "rolled_back", "release": "quarantined", "audit": ["rollout opened", "rollout rollback"],
    "decisions": ["rollback"], "incidents": ["rollout"], "aliases": {"champion": 1},
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
