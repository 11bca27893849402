"""What a rollout relies on in the ledger: the in-memory one of the tests and the real one in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fixtures.memory_ledger import MemoryLedger
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.records import AnalysisRun, AuditEvent, Incident, Release
from modelyard.core.verdict import Decision, Severity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = ("sha256:" + letter * 64 for letter in "ab")


@pytest.fixture(params=["memory", "postgres"])
def ledger(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryLedger()
    engine: Engine = request.getfixturevalue("ledger_engine")
    return PostgresLedger(engine)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model for each test: they share a database."""
    return str(request.node.originalname).removeprefix("test_")


def release(ledger: Any, model: str, version: int) -> str:
    given: dict[str, Any] = {
        "model": model, "version": version, "semver": f"1.{version}.0", "mlflow_run_id": f"{model}-{version}",
        "code_commit": "c", "created_at": NOW, "as_of": NOW, "reason": "test", "author": "me", "snapshot": A,
        "dvc_md5": "0" * 32, "files": {"model.onnx": A}, "parts": {},
    }  # fmt: skip
    made = Release.model_validate(given)
    ledger.releases.add(made, f"file:///{version}")
    return made.digest


def test_one_open_rollout_and_one_writer(ledger: Any, model: str) -> None:
    rollouts, one, two = ledger.rollouts, f"{model}-1", f"{model}-2"
    with pytest.raises(NotFound):
        rollouts.get(one)
    for _ in range(2):  # the same one again changes nothing
        rollouts.open(one, model, A, {"id": one, "n": 1}, NOW)
    assert rollouts.get(one) == ({"id": one, "n": 1}, 1)
    with pytest.raises(Conflict, match=one):
        rollouts.open(two, model, B, {"id": two}, NOW)
    assert rollouts.save(one, {"id": one, "n": 2}, 1) == 2
    with pytest.raises(Conflict):
        rollouts.save(one, {"id": one, "n": 3}, 1)
    assert rollouts.current(model) == one
    rollouts.save(one, {"id": one, "n": 4}, 2, closed_at=NOW)
    assert rollouts.current(model) is None
    rollouts.open(one, model, A, {"id": one}, NOW)  # closed is not opened again
    assert rollouts.current(model) is None
    rollouts.open(two, model, B, {"id": two}, NOW + timedelta(seconds=1))
    assert [body["id"] for body in rollouts.history(model)] == [one, two]
    rollouts.save(two, {"id": two}, 1, closed_at=NOW)


def test_routes_and_their_acknowledgements(ledger: Any, model: str) -> None:
    rollouts = ledger.rollouts
    assert rollouts.route(model) is None
    assert [rollouts.set_route(model, {"weight": w}) for w in (1, 1, 2, 1)] == [1, 1, 2, 3]
    assert rollouts.route(model) == (3, {"weight": 1})
    for generation in (2, 3, 1):  # an old one that comes late is none
        rollouts.ack(model, "gateway-1", generation, NOW)
    assert rollouts.acks(model) == {"gateway-1": 3}


def test_the_first_look_counts(ledger: Any, model: str) -> None:
    def look(n: int, reason: str, stage: int = 0) -> AnalysisRun:
        given = {"rollout": model, "model": model, "stage": stage, "look": n, "as_of": NOW, "measurements": ()}
        return AnalysisRun.model_validate(given | {"verdicts": (), "action": "hold", "reasons": (reason,), "policy": A})

    assert ledger.rollouts.look(look(1, "later")).reasons == ("later",)
    assert ledger.rollouts.look(look(0, "first")).reasons == ("first",)
    assert ledger.rollouts.look(look(0, "second")).reasons == ("first",)
    ledger.rollouts.look(look(0, "next stage", 1))
    assert [run.reasons for run in ledger.rollouts.looks(model)] == [("first",), ("later",), ("next stage",)]


def test_champions_and_the_way_back(ledger: Any, model: str) -> None:
    releases = ledger.releases
    one, two, three = (release(ledger, model, version) for version in (1, 2, 3))
    assert (releases.champion(model), releases.previous(model)) == (None, None)
    for at, digest in enumerate((one, two, two, three)):
        releases.crown(model, digest, f"r{digest[-3:]}", NOW + timedelta(seconds=at))
    assert [releases.champion(model).version, releases.previous(model).version] == [3, 2]
    releases.mark(two, "quarantined", "bad")
    assert releases.previous(model).version == 1
    with pytest.raises(Conflict):
        releases.mark(two, "ready", "good after all")
    with pytest.raises(Conflict):
        releases.crown(model, two, "again", NOW)
    releases.crown(model, one, "back", NOW + timedelta(seconds=9))  # goes back in the line, and does not lengthen it
    assert (releases.champion(model).version, releases.previous(model)) == (1, None)
    assert [(r.version, s) for r, s in releases.history(model)] == [
        (1, "candidate"),
        (2, "quarantined"),
        (3, "candidate"),
    ]
    assert releases.by_version(model, 3).digest == three


def test_decisions_incidents_and_the_audit_log(ledger: Any, model: str) -> None:
    journal = ledger.journal
    first, second = (
        Decision(kind="rollout", action=action, model=model, subject=A, reasons=("r",), policy=B, as_of=NOW)
        for action in ("promote", "rollback")
    )
    for decision in (first, second, first):  # decided again is the newest again, and one row
        journal.decide(decision)
    assert [d.action for d in journal.decisions(model, "rollout", A)] == ["rollback", "promote"]
    assert journal.decisions(model, "gates") == journal.decisions(model, None, B) == []
    incident = Incident(
        key=model, model=model, kind="k", severity=Severity.WARNING, title="t", detail="d", opened_at=NOW
    )
    assert journal.raise_incident(incident) == journal.raise_incident(incident)
    journal.resolve_incident(model, NOW, "mended")
    assert journal.incidents(model, open_only=True) == []
    journal.raise_incident(incident)
    assert [state for _, state, _ in journal.incidents(model)] == ["resolved", "open"]
    for action in ("one", "two", "three"):
        journal.audit(AuditEvent(at=NOW, actor="a", action=action, model=model, subject=A, reason="r"))
    assert [event.action for _, event in journal.audit_log(model, 2)] == ["two", "three"]
