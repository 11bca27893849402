"""Each strategy's steps on the real ledger: how it ends, and that a crash after any write leads to the same end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fixtures.platforms import FakePlatform, crashing, release_for
from fixtures.rollout_drive import NOW, Clock, again, drive, outcome, promoted, to_the_end
from fixtures.strategies import LADDER, use

from modelyard.core.errors import ConfigError
from modelyard.flows import rollout
from modelyard.rollout.state import RolloutState

Make = Callable[[str], FakePlatform]


def entered(state: RolloutState) -> list[float]:
    return [state.stages[event.stage].weight for event in state.events if event.kind == "entered"]


def challenged(make: Make, model: str, strategy: str) -> tuple[FakePlatform, str]:
    """Version 1 is champion, version 2 approved, and the policy is of this strategy."""
    platform = make(model)
    promoted(platform, model, 1)
    use(platform, strategy)
    return platform, release_for(platform, model, 2, NOW)


@pytest.mark.parametrize(
    ("strategy", "weights"),
    [("ladder", LADDER), ("shadow_canary", [0, 20, 100]), ("blue_green", [0, 100]), ("ab_test", [50])],
)
def test_a_good_version_comes_to_serve_everybody(make: Make, strategy: str, weights: list[float]) -> None:
    model = f"good_{strategy}"
    platform, release = challenged(make, model, strategy)
    platform.predictions.worse = 0.0
    if strategy == "ab_test":
        use(platform, strategy, quality={"ask": "non_inferior"})
    state = drive(platform, release, Clock(hours=1))
    assert (state.status, entered(state)) == ("promoted", weights)
    assert outcome(platform, model, release)["replicas"] == {(True, True, None, 0)}


@pytest.mark.parametrize("strategy", ["ladder", "shadow_canary", "blue_green", "ab_test", "shadow"])
def test_a_bad_version_is_quarantined_in_its_first_stage(make: Make, strategy: str) -> None:
    model = f"bad_{strategy}"
    platform, release = challenged(make, model, strategy)
    platform.predictions.worse = 2.0
    state = drive(platform, release, Clock(hours=1))
    assert (state.status, len(entered(state))) == ("rolled_back", 1)
    assert outcome(platform, model, release)["release"] == "quarantined"


@pytest.mark.parametrize("strategy", ["ladder", "shadow_canary", "blue_green", "ab_test", "shadow"])
def test_without_traffic_nothing_is_promoted(make: Make, strategy: str) -> None:
    model = f"quiet_{strategy}"
    platform, release = challenged(make, model, strategy)
    platform.predictions.rows = 0
    state = rollout.enter(platform, rollout.start(platform, release, NOW).id, 0, NOW)
    assert rollout.look(platform, state.id, NOW + timedelta(seconds=3599)).action == "hold"
    late = rollout.look(platform, state.id, NOW + timedelta(seconds=3600))
    if strategy != "ab_test":
        assert late.status == "rolling_back"
        return
    assert (late.status, late.action) == ("running", "ask")
    ((_, _, incident),) = platform.ledger.journal.incidents(model, open_only=True)
    assert incident.title.endswith("undecided at its deadline")
    assert incident.next_step == f"`modelyard rollout promote {model}` or `modelyard rollout abort {model}`"
    assert rollout.look(platform, state.id, NOW + timedelta(days=9)).action == "ask"
    assert {s.weight for s in platform.fleet.state(model).values()} == {5000}


def test_the_old_version_stays_loaded_until_the_last_stage_of_blue_green_ends(make: Make) -> None:
    platform, release = challenged(make, "switch", "blue_green")
    clock = Clock(hours=1)
    state = rollout.enter(platform, rollout.start(platform, release, clock()).id, 0, clock())
    before = platform.ledger.rollouts.route("switch")
    assert {(s.weight, s.challenger) for s in platform.fleet.state("switch").values()} == {(0, release)}
    state = rollout.look(platform, state.id, clock())
    assert (state.action, state.next_stage) == ("advance", 1)
    assert "smoke" in [v.check for v in platform.ledger.rollouts.looks(state.id)[-1].verdicts]
    state = rollout.enter(platform, state.id, 1, clock())
    after = platform.ledger.rollouts.route("switch")
    assert (after[0], after[1]["champion"], after[1]["weight"]) == (before[0] + 1, before[1]["champion"], 10_000)
    assert set(platform.ledger.rollouts.acks("switch").values()) == {after[0]}
    platform.fleet.replicas[0].tripped["switch"] = "latency_slo"  # the replica itself is back on the old version
    state = rollout.look(platform, state.id, clock())
    assert state.status == "rolling_back"
    assert {(s.challenger, s.weight) for s in platform.fleet.state("switch").values()} == {(None, 0)}


def test_a_crash_after_any_write_of_a_shadow_leads_to_the_same_end(make: Make) -> None:
    for after in range(1, 100):
        model = f"shadow_{after}"
        platform, release = challenged(make, model, "shadow")
        dying, clock = crashing(platform, after), Clock(hours=1)
        state = to_the_end(dying, release, clock)
        state = again(lambda d=dying, s=state, c=clock: rollout.stand_down(d, s.id, c()))  # type: ignore[misc]
        found = outcome(platform, model, release)
        assert found | {"acks": True} == found
        assert (state.status, found["champion"], found["release"], found["open"]) == ("concluded", 1, "ready", None)
        assert (found["replicas"], found["decisions"], found["incidents"]) == (
            {(True, True, None, 0)},
            ["conclude"],
            [],
        )
        assert found["audit"] == ["rollout conclude", "rollout opened"]
        if dying.ledger._budget[0] > 0:
            break
    else:
        pytest.fail("the shadow never came to its end without a crash")
    assert after > 10


def test_what_has_stood_in_shadow_may_be_rolled_out_by_another_strategy(make: Make) -> None:
    platform, release = challenged(make, "later", "shadow")
    clock = Clock(hours=1)
    shadow = rollout.stand_down(platform, to_the_end(platform, release, clock).id, clock())
    assert rollout.start(platform, release, clock()) == shadow
    use(platform, "ladder")
    state = drive(platform, release, clock)
    assert (state.strategy, state.status, state.release) == ("canary", "promoted", shadow.release)
    assert state.id != shadow.id
    use(platform, "shadow")
    assert rollout.start(platform, release, clock()).id == state.id


def test_blue_green_is_refused_where_the_outcome_depends_on_the_answer(make: Make) -> None:
    platform, release = challenged(make, "dependent", "blue_green")
    path: Path = platform.settings.root / "projects" / "dependent" / "model.yaml"
    path.write_text(path.read_text().replace("depends_on_answer: false", "depends_on_answer: true"))
    with pytest.raises(ConfigError, match=r"strategy = 'blue_green' is not accepted .*ab_test, canary, shadow"):
        rollout.start(platform, release, NOW)
    use(platform, "shadow")
    state = rollout.enter(platform, rollout.start(platform, release, NOW).id, 0, NOW)
    assert platform.ledger.rollouts.route("dependent")[1]["paired"]  # outputs are compared all the same
    assert rollout.look(platform, state.id, NOW + timedelta(seconds=61)).action == "conclude"
