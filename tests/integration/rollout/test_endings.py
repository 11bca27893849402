"""A promotion is recorded once it was seen on every replica, and until then a person may call it off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from fixtures.platforms import FakePlatform, crashing, release_for
from fixtures.rollout_drive import NOW, Clock, again, outcome, promoted, to_the_end

from modelyard.core.errors import ConfigError, Conflict, Unavailable
from modelyard.flows import attest, rollout
from modelyard.flows.registry import reconcile
from modelyard.ports.fleet import ReplicaState, Route

Make = Callable[[str], FakePlatform]


def earned(platform: FakePlatform, model: str) -> tuple[str, str, Clock]:
    """Version 1 is champion, version 2 has earned its promotion: rollout, release, clock."""
    promoted(platform, model, 1)
    release, clock = release_for(platform, model, 2, NOW), Clock(hours=2)
    state = to_the_end(platform, release, clock)
    assert (state.status, state.action) == ("running", "promote")
    return state.id, release, clock


def champion(platform: FakePlatform, model: str) -> int:
    version: int = platform.ledger.releases.champion(model).version
    return version


def test_nothing_is_recorded_until_every_replica_follows(make: Make) -> None:
    model = "ends_verified"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    silent = platform.fleet.replicas[1]
    silent.up = False
    for _ in range(2):
        with pytest.raises(Unavailable, match="gateway-2"):
            rollout.promote(platform, opened, clock())
    assert champion(platform, model) == 1
    assert rollout.read(platform, opened).status == "promoting"
    ((_, state, incident),) = platform.ledger.journal.incidents(model)
    assert (state, incident.title) == ("open", f"{model} version 2: promoting could not be verified")
    assert f"`modelyard rollout abort {model}`" in incident.next_step
    assert [e.action for _, e in platform.ledger.journal.audit_log(model)].count("rollout promoting failed") == 1
    silent.up = True  # with what it last acknowledged: everything to version 2, on the way of the champion
    platform.fleet.replicas[0].routes.clear()  # and the other without its state
    rollout.restore(platform, model, clock())
    assert {s.champion for s in platform.fleet.state(model).values()} == {release}
    assert rollout.promote(platform, opened, clock()).status == "promoted"
    assert champion(platform, model) == 2
    assert [s for _, s, _ in platform.ledger.journal.incidents(model)] == ["resolved"]


def test_a_guardrail_that_trips_after_the_last_look_is_heard(make: Make) -> None:
    model = "ends_tripped"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    platform.fleet.replicas[1].tripped[model] = "error_rate"
    state = rollout.promote(platform, opened, clock())
    assert state.status == "rolled_back"
    assert "a guardrail tripped after the last look (gateway-2: error_rate)" in state.reason
    assert outcome(platform, model, release) == {
        "champion": 1, "status": "rolled_back", "open": None, "release": "quarantined",
        "replicas": {(True, True, None, 0)}, "acks": True, "decisions": ["rollback"],
        "audit": ["rollout opened", "rollout rollback"], "incidents": ["rollout"], "aliases": {"champion": 1},
        "tag": {"modelyard.state": "quarantined"},
    }  # fmt: skip


def test_a_trip_is_heard_at_every_try_to_promote(make: Make) -> None:
    model = "ends_tripped_later"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    away = platform.fleet.replicas[1]
    away.up = False
    with pytest.raises(Unavailable):
        rollout.promote(platform, opened, clock())
    away.up = True  # at the last stage's split still, and tripped there before it went away
    away.tripped[model] = "error_rate"
    assert rollout.promote(platform, opened, clock()).status == "rolled_back"
    assert outcome(platform, model, release)["release"] == "quarantined"
    assert champion(platform, model) == 1


def test_a_person_may_insist_on_what_has_tripped(make: Make) -> None:
    model = "ends_tripped_by_hand"
    platform = make(model)
    opened, _, clock = earned(platform, model)
    platform.fleet.replicas[1].tripped[model] = "latency_slo"
    assert rollout.promote(platform, opened, clock(), by="ann", why="the probe was slow").status == "promoted"


def test_what_was_seen_long_ago_is_looked_at_again(make: Make) -> None:
    model = "ends_stale"
    platform = make(model)
    opened, _, clock = earned(platform, model)
    looks = len(platform.ledger.rollouts.looks(opened))
    clock.now += timedelta(minutes=11)
    away = platform.fleet.replicas[1]
    away.up = False
    with pytest.raises(Conflict, match="too old, and a new one says hold"):
        rollout.promote(platform, opened, clock())
    with pytest.raises(Conflict, match="not earned"):
        rollout.promote(platform, opened, clock())
    away.up = True
    assert rollout.look(platform, opened, clock()).action == "promote"
    clock.now += timedelta(minutes=11)
    assert rollout.promote(platform, opened, clock()).status == "promoted"
    assert len(platform.ledger.rollouts.looks(opened)) == looks + 3


def test_what_was_seen_long_ago_and_is_bad_now_is_rolled_back(make: Make) -> None:
    model = "ends_stale_bad"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    platform.predictions.worse = 2.0
    clock.now += timedelta(minutes=11)
    assert rollout.promote(platform, opened, clock()).status == "rolled_back"
    assert outcome(platform, model, release)["release"] == "quarantined"


def test_a_paused_rollout_is_not_promoted_until_it_is_resumed(make: Make) -> None:
    model = "ends_paused"
    platform = make(model)
    opened, _, clock = earned(platform, model)
    rollout.pause(platform, model, "ann", clock())
    with pytest.raises(Conflict, match=f"`modelyard rollout resume {model}`"):
        rollout.promote(platform, opened, clock())
    rollout.pause(platform, model, "ann", clock(), paused=False)
    assert rollout.promote(platform, opened, clock()).status == "promoted"


def test_restoring_never_undoes_what_is_wanted_by_then(make: Make) -> None:
    model = "ends_restore"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    rollouts = platform.ledger.rollouts
    stale = rollouts.route(model)

    class Slow:
        """Somebody aborts after the wanted route was read, and before it is pushed."""

        def __getattr__(self, name: str) -> object:
            return getattr(rollouts, name)

        def route(self, _: str) -> object:
            platform.ledger.rollouts = rollouts
            rollout.abort(platform, model, "ann", "stop", clock())
            return stale

    platform.ledger = SimpleNamespace(**vars(platform.ledger))
    platform.ledger.rollouts = Slow()
    with pytest.raises(Conflict, match="is older than"):
        rollout.restore(platform, model, clock())
    found = outcome(platform, model, release)
    assert (found["status"], found["replicas"], found["acks"]) == ("rolled_back", {(True, True, None, 0)}, True)
    assert rollout.read(platform, opened).closed


def test_a_replica_that_answers_otherwise_is_found(make: Make) -> None:
    model = "ends_otherwise"
    platform = make(model)
    opened, _, clock = earned(platform, model)
    deaf = platform.fleet.replicas[1]
    old = deaf.routes[model][1].champion

    def apply(route: Route, generation: int) -> ReplicaState:
        """Acknowledges, and goes on with the old version."""
        deaf.routes[model] = (generation, Route(model=model, champion=old))
        return deaf.state(model)

    deaf.apply = apply  # type: ignore[method-assign]
    with pytest.raises(Conflict, match="gateway-2 answers with"):
        rollout.promote(platform, opened, clock())
    assert champion(platform, model) == 1
    assert rollout.abort(platform, model, "ann", "one replica is deaf", clock()).status == "rolled_back"


def test_a_promotion_that_cannot_be_verified_is_called_off_whenever_the_process_dies(make: Make) -> None:
    for after in range(1, 40):
        model = f"ends_off_{after}"
        platform = make(model)
        opened, release, clock = earned(platform, model)
        platform.fleet.replicas[1].up = False
        with pytest.raises(Unavailable):
            rollout.promote(platform, opened, clock())
        with pytest.raises(Conflict, match="a person may call that off"):
            rollout.roll_back(platform, opened, clock())
        platform.fleet.replicas[1].up = True
        dying = crashing(platform, after)
        again(lambda d=dying, o=opened, c=clock: rollout.roll_back(d, o, c(), by="ann", why="enough"))  # type: ignore[misc]
        assert outcome(platform, model, release) == {
            "champion": 1, "status": "rolled_back", "open": None, "release": "quarantined",
            "replicas": {(True, True, None, 0)}, "acks": True, "decisions": ["rollback"],
            "audit": ["rollout opened", "rollout promoting failed", "rollout rollback"],
            "incidents": ["rollout", "rollout"], "aliases": {"champion": 1}, "tag": {"modelyard.state": "quarantined"},
        }, f"after write {after}"  # fmt: skip
        if dying.ledger._budget[0] > 0:
            break
    assert after > 8


def test_whoever_aborts_while_replicas_load_wins(make: Make) -> None:
    model = "ends_race"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    fleet, apply = platform.fleet, platform.fleet.apply

    def slow(route: Route, generation: int) -> dict[str, ReplicaState]:
        """Somebody aborts after the route was written down and before the replicas have it."""
        fleet.apply = apply
        rollout.abort(platform, model, "ann", "stop", clock())
        later = platform.ledger.rollouts.set_route(model, route.to_dict())
        states: dict[str, ReplicaState] = apply(route, later)
        return {name: state.model_copy(update={"generation": generation}) for name, state in states.items()}

    fleet.apply = slow
    with pytest.raises(Conflict, match="changed by somebody else"):
        rollout.promote(platform, opened, clock())
    found = outcome(platform, model, release)
    assert (found["champion"], found["status"], found["replicas"]) == (1, "rolled_back", {(True, True, None, 0)})
    assert [i.title for _, s, i in platform.ledger.journal.incidents(model) if s == "open"] == [
        f"{model} version 2 was rolled back"
    ]


def test_once_verified_only_the_record_is_left(make: Make) -> None:
    model = "ends_recorded"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    state = rollout.read(platform, opened)
    verified = state.begin_promotion("good", "modelyard", clock()).verify(clock())
    platform.ledger.rollouts.save(opened, verified.to_dict(), platform.ledger.rollouts.get(opened)[1])
    with pytest.raises(Conflict, match="only its record is missing"):
        rollout.abort(platform, model, "ann", "too late", clock())
    with pytest.raises(Conflict, match="only its record is missing"):
        rollout.revert(platform, model, "ann", "too early", clock())
    assert reconcile_champion(platform, model) == 1  # a projection of the ledger, which has not been told yet
    assert rollout.promote(platform, opened, clock(), by="ann", why="end it").decided_by == "modelyard"
    assert reconcile_champion(platform, model) == 2
    assert platform.ledger.releases.champion(model).digest == release


def reconcile_champion(platform: FakePlatform, model: str) -> int:
    reconcile(platform, model)  # type: ignore[arg-type]
    return platform.tracking.aliases(model)["champion"]


def test_mlflow_that_is_away_keeps_nobody_from_ending_a_rollout(make: Make) -> None:
    model = "ends_mlflow"
    platform = make(model)
    opened, _, clock = earned(platform, model)
    aliases = platform.tracking.aliases

    def away(_: str) -> dict[str, int]:
        raise Unavailable("MLflow is away")

    platform.tracking.aliases = away
    with pytest.raises(Unavailable, match=f"done and recorded.*`modelyard reconcile {model}`"):
        rollout.promote(platform, opened, clock())
    assert (rollout.read(platform, opened).status, champion(platform, model)) == ("promoted", 2)
    platform.tracking.aliases = aliases
    assert rollout.promote(platform, opened, clock() + timedelta(days=1)).status == "promoted"
    assert platform.tracking.aliases(model) == {"champion": 2, "previous": 1}


class Keyless:
    """An installation whose signing key is gone."""

    key = "gone"

    def sign(self, message: bytes) -> bytes:
        raise ConfigError("MODELYARD_SIGNING_KEY_FILE", "", "a key")


def test_outcomes_are_attested_and_no_missing_key_keeps_users_on_a_bad_version(make: Make) -> None:
    model = "ends_attested"
    platform = make(model)
    opened, release, clock = earned(platform, model)
    platform.signer = Keyless()
    rollout.abort(platform, model, "ann", "it is bad", clock())
    assert rollout.read(platform, opened).status == "rolled_back"
    assert attest.decisions_to_attest(platform, platform.ledger.releases.get(release))[-1].action == "rollback"
    assert [a.kind for a in platform.ledger.journal.attestations(release)] == []
    open_ = [i for _, _, i in platform.ledger.journal.incidents(model, open_only=True)]
    assert f"the outcome of {opened} (rollback) could not be signed" in [i.title for i in open_]
    first = platform.ledger.releases.champion(model)
    (said,) = platform.ledger.journal.attestations(first.digest)
    assert (said.kind, said.actor) == ("rollout", "modelyard")
