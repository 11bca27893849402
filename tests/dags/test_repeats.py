"""Runs that are cleared or started anew while a rollout is under way, and runs that are given what they must refuse."""

from __future__ import annotations

from datetime import UTC, datetime

from fixtures.bundles import graph
from fixtures.platforms import release_for
from fixtures.strategies import policy

from modelyard.config.settings import Settings
from modelyard.flows import rollout
from modelyard.rollout.policy import FastTrack
from modelyard.rollout.state import RolloutState
from modelyard.wiring import connect

from .conftest import MODEL, ROOT, Stage
from .test_runs import Users

FIRST, FAULTY, INSISTED, SHADOW, FAST, PAUSED = 1, 2, 3, 4, 5, 6
ENTERING = """
import json, sys
from airflow.sdk.exceptions import TaskDeferred
sys.path.insert(0, sys.argv[1])
from modelyard_airflow.stages import StageOperator
tried = []
task = StageOperator(task_id="stage_0", rollout=sys.argv[2], stage=0)
for _ in range(2):
    try:
        tried.append(task.again({}, None))
    except TaskDeferred as waits:
        tried.append([waits.method_name, waits.trigger.moment.isoformat()])
print(json.dumps(tried))
"""


def _champion(stage: Stage) -> None:
    if stage.platform.ledger.releases.champion(MODEL) is None:
        (found,) = stage.run("rollout", release=release_for(stage.platform, MODEL, FIRST, datetime.now(UTC)))
        assert found["state"] == "success"


def _save(stage: Stage, state: RolloutState) -> None:
    rollouts = stage.platform.ledger.rollouts
    rollouts.save(state.id, state.to_dict(), rollouts.get(state.id)[1])


def test_a_run_that_is_repeated_goes_on_in_the_later_stage(stage: Stage) -> None:
    _champion(stage)
    release = release_for(stage.platform, MODEL, FAULTY, datetime.now(UTC), onnx=graph(fault="raise"))
    here = connect(Settings.from_env(stage.airflow.env))
    opened = rollout.start(here, release, datetime.now(UTC)).id
    state = rollout.enter(here, opened, 0, datetime.now(UTC))
    _save(stage, state.looked("advance", "a test", datetime.now(UTC)))
    rollout.enter(here, opened, 1, datetime.now(UTC))
    with Users(stage.gateway):
        (found,) = stage.run("rollout", release=release)
    assert found["tasks"]["stage_0"] == found["tasks"]["stage_1"] == "success"
    assert found["tasks"]["roll_back"] == found["tasks"]["verify_closed"] == "success"
    assert stage.platform.ledger.rollouts.current(MODEL) is None


def test_a_shadow_that_was_passed_ends_without_a_promotion(stage: Stage) -> None:
    _champion(stage)
    release = release_for(stage.platform, MODEL, SHADOW, datetime.now(UTC))
    here = connect(Settings.from_env(stage.airflow.env))
    opened = rollout.start(here, release, datetime.now(UTC))
    opened = opened.model_copy(update={"strategy": "shadow", "policy": policy("shadow")})
    _save(stage, opened)
    state = rollout.enter(here, opened.id, 0, datetime.now(UTC))
    _save(stage, state.looked("conclude", "all shown", datetime.now(UTC)))
    (found,) = stage.run("rollout", release=release)
    assert found["state"] == found["tasks"]["stand_down"] == found["tasks"]["verify_closed"] == "success"
    assert found["tasks"]["promote"] == found["tasks"]["roll_back"] == "skipped"
    assert rollout.read(here, opened.id).status == "concluded"
    assert stage.gateway.state(MODEL)["challenger"] is None


def test_the_fast_track_leaves_stages_out(stage: Stage) -> None:
    _champion(stage)
    release = release_for(stage.platform, MODEL, FAST, datetime.now(UTC), onnx=graph(fault="raise"))
    here = connect(Settings.from_env(stage.airflow.env))
    opened = rollout.start(here, release, datetime.now(UTC))
    quick = opened.policy.model_copy(update={"fast_track": FastTrack(from_weight=20)})
    _save(stage, opened.model_copy(update={"policy": quick}))
    state = rollout.enter(here, opened.id, 0, datetime.now(UTC))
    _save(stage, state.looked("fast_track", "exceptional", datetime.now(UTC)))
    with Users(stage.gateway, weight=10_000):  # a trip before the last stage would keep it from being entered
        (found,) = stage.run("rollout", release=release)
    assert [found["tasks"][f"stage_{n}"] for n in range(4)] == ["success", "skipped", "skipped", "success"]
    state = rollout.read(here, opened.id)
    assert (state.status, [e.stage for e in state.events if e.kind == "entered"]) == ("rolled_back", [0, 3])


def test_a_promotion_that_a_person_began_is_ended(stage: Stage) -> None:
    _champion(stage)
    release = release_for(stage.platform, MODEL, INSISTED, datetime.now(UTC))
    here = connect(Settings.from_env(stage.airflow.env))
    opened = rollout.start(here, release, datetime.now(UTC)).id
    state = rollout.enter(here, opened, 0, datetime.now(UTC))
    _save(stage, state.begin_promotion("a person insists", "ann", datetime.now(UTC), by_hand=True))
    (found,) = stage.run("rollout", release=release)
    assert found["state"] == found["tasks"]["promote"] == "success"
    assert rollout.read(here, opened).status == "promoted"


def test_a_stage_waits_for_a_rollout_that_is_paused(stage: Stage) -> None:
    release = release_for(stage.platform, MODEL, PAUSED, datetime.now(UTC))
    here = connect(Settings.from_env(stage.airflow.env))
    opened = rollout.start(here, release, datetime.now(UTC)).id
    rollout.pause(here, MODEL, "ann", datetime.now(UTC))
    tried = stage.airflow.run(ENTERING, str(ROOT / "plugins"), opened)
    assert [method for method, _ in tried] == ["again", "again"]
    assert all(datetime.fromisoformat(moment) > datetime.now(UTC) for _, moment in tried)
    assert rollout.read(here, opened).entering == -1
    assert rollout.abort(here, MODEL, "ann", "enough", datetime.now(UTC)).status == "rolled_back"


def test_a_rollout_of_another_models_release_is_refused(stage: Stage) -> None:
    release = release_for(stage.platform, "flight_delay", 1, datetime.now(UTC))
    (found,) = stage.run("rollout", release=release)
    assert (found["state"], found["tasks"]["start"]) == ("failed", "failed")
    assert stage.platform.ledger.rollouts.history("flight_delay") == []
