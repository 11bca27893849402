"""The ledger in a real PostgreSQL: idempotent writes, one truth on champions, an audit log nobody can change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fixtures.database import PostgresServer
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from modelyard.adapters.db.engine import connect, migrate
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.adapters.db.tables import metadata
from modelyard.core.errors import ConfigError, Conflict, NotFound, Unavailable
from modelyard.core.records import AnalysisRun, Approval, AuditEvent, Incident, Release, Snapshot
from modelyard.core.verdict import Decision, Severity
from modelyard.core.window import Window

NOW = datetime(2013, 4, 9, tzinfo=UTC)
A, B, C = ("sha256:" + letter * 64 for letter in "abc")


@pytest.fixture
def engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    """A database of each test's own: the audit log cannot be emptied."""
    engine = connect(postgres_server.fresh("ledger"))
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: Engine) -> PostgresLedger:
    return PostgresLedger(engine)


def release(version: int, **changes: object) -> Release:
    given: dict[str, object] = {
        "model": "toy", "version": version, "semver": f"1.{version}.0", "mlflow_run_id": f"run{version}",
        "code_commit": "c", "created_at": NOW, "as_of": NOW, "reason": "test", "author": "me", "snapshot": A,
        "dvc_md5": "0" * 32, "files": {"model.onnx": A}, "parts": {},
    }  # fmt: skip
    return Release.model_validate(given | changes)


def snapshot(content: str = A) -> Snapshot:
    window = Window.last(timedelta(days=7), NOW)
    return Snapshot(
        model="toy", window=window, as_of=NOW, rows=1, columns=("x",), content=content, dvc_md5="0" * 32, path="p"
    )


def test_migrations_and_tables_agree_and_go_down_again(engine: Engine) -> None:
    with engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), metadata) == []
    migrate(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate(engine)


def test_a_snapshot_is_one_version_and_quarantine_is_for_good(ledger: PostgresLedger) -> None:
    ledger.snapshots.add(snapshot())
    ledger.snapshots.add(snapshot())
    assert ledger.snapshots.of("toy") == [snapshot()]
    assert ledger.snapshots.state(A) == "new"
    ledger.snapshots.mark(A, "quarantined", "broken")
    with pytest.raises(Conflict, match="stays so"):
        ledger.snapshots.mark(A, "valid", "please")
    with pytest.raises(NotFound):
        ledger.snapshots.get(B)


def test_a_version_is_never_reused(ledger: PostgresLedger) -> None:
    first = release(1)
    ledger.releases.add(first, "file:///one")
    ledger.releases.add(first, "file:///one")
    assert ledger.releases.get(first.digest) == first
    assert ledger.releases.by_version("toy", 1) == first
    assert ledger.releases.of_run("run1") == first
    assert ledger.releases.bundle(first.digest) == "file:///one"
    with pytest.raises(Conflict, match="never reused"):
        ledger.releases.add(release(1, reason="another"), "file:///two")


def test_champions_follow_each_other(ledger: PostgresLedger) -> None:
    one, two = release(1), release(2)
    for each in (one, two):
        ledger.releases.add(each, "file:///x")
    assert ledger.releases.champion("toy") is None
    for _ in range(2):
        ledger.releases.crown("toy", one.digest, "r1", NOW)
    assert ledger.releases.previous("toy") is None
    ledger.releases.crown("toy", two.digest, "r2", NOW)
    assert (ledger.releases.champion("toy"), ledger.releases.previous("toy")) == (two, one)


def test_the_champion_to_go_back_to_is_never_one_that_was_left(ledger: PostgresLedger) -> None:
    one, two, three, four = (release(n) for n in (1, 2, 3, 4))
    for each in (one, two, three, four):
        ledger.releases.add(each, "file:///x")
    for number, each in enumerate((one, two, three, two), 1):
        ledger.releases.crown("toy", each.digest, f"r{number}", NOW)
    ledger.releases.mark(three.digest, "quarantined", "reverted")
    assert (ledger.releases.champion("toy"), ledger.releases.previous("toy")) == (two, one)
    ledger.releases.crown("toy", four.digest, "r5", NOW)
    assert ledger.releases.previous("toy") == two
    ledger.releases.mark(two.digest, "quarantined", "reverted")
    assert ledger.releases.previous("toy") == one
    ledger.releases.crown("toy", one.digest, "r6", NOW)
    assert ledger.releases.previous("toy") is None


def test_a_quarantined_release_never_becomes_champion(ledger: PostgresLedger) -> None:
    bad = release(1)
    ledger.releases.add(bad, "file:///x")
    ledger.releases.mark(bad.digest, "quarantined", "rolled back")
    with pytest.raises(Conflict):
        ledger.releases.crown("toy", bad.digest, "r1", NOW)
    with pytest.raises(Conflict):
        ledger.releases.mark(bad.digest, "ready", "please")
    assert ledger.releases.history("toy") == [(bad, "quarantined")]


def test_one_rollout_is_open_at_a_time_and_two_writers_cannot_both_win(ledger: PostgresLedger) -> None:
    ledger.rollouts.open("r1", "toy", A, {"stage": 0}, NOW)
    ledger.rollouts.open("r1", "toy", A, {"stage": 9}, NOW)
    assert ledger.rollouts.get("r1") == ({"stage": 0}, 1)
    with pytest.raises(Conflict, match="rollout r1 of toy is open"):
        ledger.rollouts.open("r2", "toy", B, {}, NOW)
    assert ledger.rollouts.save("r1", {"stage": 1}, 1) == 2
    with pytest.raises(Conflict, match="another writer"):
        ledger.rollouts.save("r1", {"stage": 2}, 1)
    ledger.rollouts.save("r1", {"stage": 3}, 2, closed_at=NOW)
    assert ledger.rollouts.current("toy") is None
    ledger.rollouts.open("r2", "toy", B, {}, NOW + timedelta(hours=1))
    assert ledger.rollouts.current("toy") == "r2"
    assert len(ledger.rollouts.history("toy")) == 2


def test_a_changed_route_has_a_new_generation_and_an_equal_one_keeps_it(ledger: PostgresLedger) -> None:
    assert ledger.rollouts.route("toy") is None
    assert ledger.rollouts.set_route("toy", {"weight": 1}) == 1
    assert ledger.rollouts.set_route("toy", {"weight": 1}) == 1
    assert ledger.rollouts.set_route("toy", {"weight": 2}) == 2
    assert ledger.rollouts.route("toy") == (2, {"weight": 2})
    ledger.rollouts.ack("toy", "g1", 1, NOW)
    ledger.rollouts.ack("toy", "g1", 2, NOW)
    ledger.rollouts.ack("toy", "g1", 1, NOW)  # whoever was slow takes nothing back
    ledger.rollouts.ack("toy", "g2", 1, NOW)
    assert ledger.rollouts.acks("toy") == {"g1": 2, "g2": 1}


def test_looks_are_kept_in_order_and_once(ledger: PostgresLedger) -> None:
    def look(number: int) -> AnalysisRun:
        return AnalysisRun(
            rollout="r1", model="toy", stage=0, look=number, as_of=NOW, measurements=(), verdicts=(), action="hold",
            reasons=("no traffic",), policy=A,
        )  # fmt: skip

    for number in (1, 0, 1):
        assert ledger.rollouts.look(look(number)) == look(number)
    again = look(1).model_copy(update={"action": "rollback"})
    assert ledger.rollouts.look(again) == look(1)  # what is on record counts
    assert ledger.rollouts.looks("r1") == [look(0), look(1)]


def test_decisions_are_found_by_kind_and_subject(ledger: PostgresLedger) -> None:
    decision = Decision(kind="gates", action="ready", model="toy", subject=A, reasons=("ok",), policy=B, as_of=NOW)
    ledger.journal.decide(decision)
    ledger.journal.decide(decision)
    assert ledger.journal.decisions("toy", "gates", A) == [decision]
    assert ledger.journal.decisions("toy", "governor") == []
    assert ledger.journal.decision(decision.digest) == decision


def test_a_decision_that_recurs_is_the_newest_again(ledger: PostgresLedger) -> None:
    yes, no = (
        Decision(kind="gates", action=action, model="toy", subject=A, reasons=("so",), policy=B, as_of=NOW)
        for action in ("ready", "blocked")
    )
    for each in (yes, no, yes):
        ledger.journal.decide(each)
    assert ledger.journal.decisions("toy", "gates", A) == [no, yes]


def test_nobody_answers_twice_to_the_same_evidence(ledger: PostgresLedger) -> None:
    answer = Approval(release=A, decision=B, by="ann", at=NOW, answer="approve", automatic=False)
    ledger.journal.approve(answer)
    ledger.journal.approve(answer)
    assert ledger.journal.approvals(A) == [answer]
    with pytest.raises(Conflict, match="already answered"):
        ledger.journal.approve(answer.model_copy(update={"answer": "reject"}))
    ledger.journal.approve(answer.model_copy(update={"decision": C, "answer": "reject"}))


def test_one_cause_is_one_incident_while_it_is_open(ledger: PostgresLedger) -> None:
    incident = Incident(
        key="toy/drift", model="toy", kind="drift", severity=Severity.WARNING, title="t", detail="d", opened_at=NOW
    )
    first = ledger.journal.raise_incident(incident)
    assert ledger.journal.raise_incident(incident) == first
    ledger.journal.resolve_incident("toy/drift", NOW, "mended")
    assert ledger.journal.raise_incident(incident) != first
    assert [state for _, state, _ in ledger.journal.incidents("toy")] == ["resolved", "open"]
    assert len(ledger.journal.incidents(open_only=True)) == 1


@pytest.mark.parametrize("attack", ["DELETE FROM audit_log", "UPDATE audit_log SET body = '{}'", "TRUNCATE audit_log"])
def test_the_audit_log_only_grows(ledger: PostgresLedger, engine: Engine, attack: str) -> None:
    event = AuditEvent(at=NOW, actor="me", action="test", model="toy", subject=A, reason="because")
    ledger.journal.audit(event)
    with pytest.raises(ProgrammingError, match="append-only"), engine.begin() as db:
        db.execute(text(attack))
    assert [kept for _, kept in ledger.journal.audit_log("toy")] == [event]


def test_a_repeated_check_replaces_itself(ledger: PostgresLedger) -> None:
    ledger.journal.check("toy", NOW, {"action": "nothing"})
    ledger.journal.check("toy", NOW, {"action": "retrain", "signals": {"much": 1}})
    ledger.journal.check("toy", NOW - timedelta(hours=1), {"action": "watch"})
    assert [c["action"] for c in ledger.journal.checks("toy")] == ["watch", "retrain"]
    assert [c["action"] for c in ledger.journal.checks("toy", since=NOW)] == ["retrain"]
    assert ledger.journal.checks("toy", since=NOW, brief=True) == [{"action": "retrain"}]


def test_ticks_come_back_in_order_of_wall_time(ledger: PostgresLedger) -> None:
    ledger.journal.tick("toy", NOW + timedelta(seconds=5), NOW)
    ledger.journal.tick("toy", NOW, NOW - timedelta(days=1))
    assert [wall for wall, _ in ledger.journal.ticks("toy")] == [NOW, NOW + timedelta(seconds=5)]


def test_another_database_than_postgresql_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match="postgresql") as caught:
        connect("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_answer_is_said_to_be_so_without_its_password() -> None:
    gone = PostgresLedger(connect("postgresql+psycopg://me:secret@127.0.0.1:9/db"))
    with pytest.raises(Unavailable, match="modelyard up") as caught:
        gone.journal.audit_log()
    assert "secret" not in str(caught.value)
