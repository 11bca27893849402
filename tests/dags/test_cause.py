"""Why a retraining runs and whether it is still needed: read from a run's context, checked against the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fixtures.platforms import release_for

from modelyard.core.digest import digest_json
from modelyard.core.verdict import Decision

from .conftest import MODEL, ROOT, Stage

AS_OF = datetime(2013, 4, 24, tzinfo=UTC)
PROGRAM = """
import json, sys
from types import SimpleNamespace as Some
from datetime import datetime
sys.path.insert(0, sys.argv[3])
from modelyard_airflow.cause import answered, cause
from modelyard_airflow.tasks import platform
from modelyard.core.errors import ModelyardError

def tried(model, case):
    run = Some(run_type=case["run_type"], run_id=case["run_id"], triggering_user_name=case.get("user"))
    events = {"asset": [Some(extra=extra) for extra in case.get("events", [])]}
    context = {"params": case.get("params"), "dag_run": run, "triggering_asset_events": events}
    try:
        found = cause(platform(), model, context, datetime.fromisoformat(case["default"]))
        return {**found.identifiers(), "origin": found.origin(), "answered": answered(platform(), model, found)}
    except ModelyardError as error:
        return {"error": f"{type(error).__name__}: {error}"}

print(json.dumps([tried(sys.argv[1], case) for case in json.loads(sys.argv[2])]))
"""


def case(run_type: str, run_id: str = "r", **more: Any) -> dict[str, Any]:
    return {"run_type": run_type, "run_id": run_id, "default": AS_OF.isoformat(), **more}


def event(decision: str, as_of: datetime = AS_OF) -> dict[str, Any]:
    return case("asset_triggered", events=[{"decision": decision, "as_of": as_of.isoformat(), "reason": "it drifts"}])


def decided(stage: Stage, subject: str, *, action: str = "retrain", model: str = MODEL) -> str:
    decision = Decision(
        kind="governor",
        action=action,
        model=model,
        subject=subject,
        reasons=("it drifts",),
        policy=digest_json("policy"),
        as_of=AS_OF,
    )
    stage.platform.ledger.journal.decide(decision)
    return decision.digest


@pytest.fixture(scope="module")
def answers(stage: Stage) -> list[dict[str, Any]]:
    """What becomes of each way in which a run can have been started."""
    champion = release_for(
        stage.platform, MODEL, 1, datetime.now(UTC), as_of=AS_OF - timedelta(days=15), parts={"run": "weekly"}
    )
    stage.platform.ledger.releases.crown(MODEL, champion, "the-first", datetime.now(UTC))
    release_for(stage.platform, MODEL, 2, datetime.now(UTC), as_of=AS_OF, parts={"run": "cleared"})
    good = decided(stage, champion)
    cases = [
        case("manual", user="ann", params={"reason": "a try"}),
        case("scheduled", run_id="other"),
        case("scheduled", run_id="cleared"),
        case("backfill", user="ann"),
        event(good, AS_OF + timedelta(days=1)),
        event(good),
        event(""),
        event(digest_json("made up")),
        event(decided(stage, champion, action="watch")),
        event(decided(stage, champion, model="flight_delay")),
        event(decided(stage, digest_json("a champion of the past"))),
        case("asset_triggered"),
        case("asset_triggered", events=[{"as_of": "9999"}, *event(good)["events"]]),
    ]
    found: list[dict[str, Any]] = stage.airflow.run(PROGRAM, MODEL, json.dumps(cases), str(ROOT / "plugins"))
    return found


def test_who_asked_is_kept(answers: list[dict[str, Any]]) -> None:
    manual, weekly, _, backfill = answers[:4]
    assert (manual["reason"], manual["trigger"], manual["author"]) == ("a try", "manual", "ann")
    assert (weekly["trigger"], weekly["author"]) == ("schedule", "calendar")
    assert (backfill["trigger"], backfill["author"]) == ("backfill", "ann")
    assert manual["origin"] == {"run": "r", "trigger": "manual"}


def test_what_is_answered_already_is_not_asked_again(answers: list[dict[str, Any]]) -> None:
    manual, weekly, cleared, backfill = answers[:4]
    assert "version 2 (ready) was trained as of" in weekly["answered"]
    # What the very run made before it was cleared answers nothing; a person knows what he asks for.
    assert [one["answered"] for one in (manual, cleared, backfill)] == ["", "", ""]


def test_an_event_counts_only_with_the_governors_decision_behind_it(answers: list[dict[str, Any]]) -> None:
    another_moment, good, *bad, eventless = answers[4:10] + answers[11:12]
    assert (good["trigger"], good["author"]) == (f"asset:modelyard://{MODEL}/drift", "governor")
    assert good["origin"]["evidence"] == good["evidence"]
    assert "error" not in good
    assert "its decision" in another_moment["error"]
    assert [one["error"].partition(":")[0] for one in bad] == [
        "EvidenceMissing",
        "NotFound",
        "EvidenceMissing",
        "EvidenceMissing",
    ]
    assert "no event came" in eventless["error"]
    assert answers[12]["evidence"] == good["evidence"], "an event that somebody made up takes no other with it"


def test_a_decision_about_another_champion_is_answered(answers: list[dict[str, Any]]) -> None:
    assert "is not the champion any more" in answers[10]["answered"]


def test_the_future_cannot_be_asked_about(stage: Stage) -> None:
    (found,) = stage.run("retrain", as_of=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert found["state"] == "failed"
    assert found["tasks"]["plan"] == "failed"
    assert found["tasks"]["snapshot"] == "upstream_failed"
