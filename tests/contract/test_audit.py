"""The audit log in a real PostgreSQL: attacks by whoever owns the tables, writers at once, a writer that is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.database import PostgresServer
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from modelyard.adapters.audit_anchors import FileAnchors
from modelyard.adapters.db.engine import connect, migrate
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.core.chain import GENESIS, Audited, digest_of, walk
from modelyard.core.digest import canonical_json
from modelyard.core.errors import Conflict
from modelyard.core.records import AuditEvent
from modelyard.ports.ledger import Journal

NOW = datetime(2013, 4, 9, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    engine = connect(postgres_server.fresh("audit"))
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def journal(engine: Engine, tmp_path: Path) -> Journal:
    return PostgresLedger(engine, FileAnchors(tmp_path / "anchors")).journal


def event(number: int, actor: str = "ann") -> AuditEvent:
    at = NOW + timedelta(hours=number)
    return AuditEvent(at=at, actor=actor, action=f"act {number}", model="toy", subject=DIGEST, reason="é \u2028 \"'")


def filled(journal: Journal, count: int = 6) -> None:
    for number in range(count):
        journal.audit(event(number))


def verified(journal: Journal) -> Audited:
    return walk(journal.audit_chain(), journal.audit_head(), journal.audit_anchors())


def forge(engine: Engine, *statements: str) -> None:
    """As the tables' owner, who can switch the trigger off."""
    with engine.begin() as db:
        db.execute(text("ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_append_only"))
        for statement in statements:
            db.exec_driver_sql(statement)
        db.execute(text("ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_append_only"))


def test_entries_follow_each_other_without_a_gap_and_are_anchored(journal: Journal) -> None:
    filled(journal)
    found = verified(journal)
    assert (found.whole, found.entries, found.anchored) == (True, 6, 6)
    assert [kept for _, kept in journal.audit_log()] == [event(number) for number in range(6)]


ATTACKS = {
    "changed": ["UPDATE audit_log SET body = replace(body::text, '\"ann\"', '\"bob\"')::json WHERE seq = 3"],
    "a space added": ["UPDATE audit_log SET body = (body::text || ' ')::json WHERE seq = 3"],
    "first removed": ["DELETE FROM audit_log WHERE seq = 1"],
    "middle removed": ["DELETE FROM audit_log WHERE seq = 3"],
    "last removed": ["DELETE FROM audit_log WHERE seq = 6"],
    "tail cut with its head": [
        "DELETE FROM audit_log WHERE seq > 4",
        "UPDATE audit_head SET (seq, digest) = (SELECT seq, digest FROM audit_log WHERE seq = 4)",
    ],
    "two swapped": [
        "UPDATE audit_log SET seq = 100 WHERE seq = 2",
        "UPDATE audit_log SET seq = 2 WHERE seq = 3",
        "UPDATE audit_log SET seq = 3 WHERE seq = 100",
    ],
    "one inserted": [
        "INSERT INTO audit_log (seq, previous, digest, body) SELECT 7, digest, 'x', body FROM audit_log WHERE seq = 6"
    ],
    "head moved": ["UPDATE audit_head SET seq = 5"],
    "emptied with its head": ["TRUNCATE audit_log", f"UPDATE audit_head SET seq = 0, digest = '{GENESIS}'"],  # noqa: S608
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_the_owner_of_the_tables_does_to_them_is_found(
    journal: Journal, engine: Engine, attack: list[str]
) -> None:
    filled(journal)
    forge(engine, *attack)
    assert not verified(journal).whole


def test_a_log_that_was_chained_anew_is_found_by_its_anchors_and_goes_on_being_found(
    journal: Journal, engine: Engine
) -> None:
    filled(journal, 3)
    last = list(journal.audit_chain())[-1]
    body = last.text.replace("ann", "bob")
    forged = digest_of(3, last.previous, body)
    forge(
        engine,
        f"UPDATE audit_log SET body = CAST($x${body}$x$ AS json), digest = '{forged}' WHERE seq = 3",  # noqa: S608
        f"UPDATE audit_head SET digest = '{forged}'",  # noqa: S608
    )
    assert ["rewritten" in fault for fault in verified(journal).faults] == [True]
    journal.audit(event(4))
    assert not verified(journal).whole


def test_a_second_entry_after_the_same_one_is_refused(journal: Journal, engine: Engine) -> None:
    filled(journal, 2)
    with pytest.raises(IntegrityError, match="one_entry_after_each"), engine.begin() as db:
        db.execute(
            text(
                "INSERT INTO audit_log (seq, previous, digest, body)"
                " SELECT 9, previous, 'sha256', body FROM audit_log WHERE seq = 2"
            )
        )


def test_a_log_without_its_head_takes_no_entry_and_is_not_whole(journal: Journal, engine: Engine) -> None:
    filled(journal, 2)
    forge(engine, "DELETE FROM audit_head")
    with pytest.raises(Conflict, match="lost its head"):
        journal.audit(event(3))
    with pytest.raises(Conflict, match="lost its head"):
        verified(journal)


def test_writers_at_once_leave_one_chain_with_all_their_entries(journal: Journal) -> None:
    def write(actor: str) -> None:
        for number in range(40):
            journal.audit(event(number, actor))

    writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = verified(journal)
    assert (found.whole, found.entries, found.anchored) == (True, 200, 200)
    assert {len(journal.audit_log(actor=f"w{n}")) for n in range(5)} == {40}


WRITER = """
import sys
from datetime import UTC, datetime
from modelyard.adapters.db.engine import connect
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.core.records import AuditEvent
journal = PostgresLedger(connect(sys.argv[1])).journal
for number in range(100_000):
    at = datetime(2013, 4, 9, tzinfo=UTC)
    print(journal.audit(AuditEvent(at=at, actor="w", action="a", model="toy", subject="s", reason="r")), flush=True)
"""


def test_a_writer_that_is_killed_leaves_the_chain_whole_with_all_it_was_told_is_kept(
    journal: Journal, engine: Engine
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(50)]
    writer.kill()
    told += writer.stdout.readlines()
    writer.wait()
    numbers = [int(line) for line in told if line.endswith("\n")]
    journal.audit(event(1))
    found = verified(journal)
    assert found.whole
    assert found.entries >= len(numbers) + 1 >= 51


def test_entries_are_found_by_person_action_subject_and_time(journal: Journal) -> None:
    filled(journal, 4)
    journal.audit(event(9, "bob"))

    def numbers(**asked: object) -> list[int]:
        return [seq for seq, _ in journal.audit_log("toy", **asked)]  # type: ignore[arg-type]

    assert numbers(actor="bob") == [5]
    assert numbers(action="act 2") == [3]
    assert numbers(subject="else") == []
    assert numbers(since=NOW + timedelta(hours=2), until=NOW + timedelta(hours=9)) == [3, 4]


def test_a_torn_or_changed_anchor_file_is_told_from_a_whole_one(journal: Journal, tmp_path: Path) -> None:
    filled(journal, 2)
    anchors = tmp_path / "anchors"
    whole = anchors.read_text(encoding="utf-8")
    anchors.write_text(whole + "3:sha2", encoding="utf-8")  # a writer killed in the middle of its line
    assert verified(journal).whole
    anchors.write_text("no\n" + whole, encoding="utf-8")
    with pytest.raises(Conflict, match="line 1"):
        verified(journal)
    anchors.write_text(whole + f"1:sha256:{'b' * 64}\n", encoding="utf-8")
    with pytest.raises(Conflict, match="two anchors for entry 1"):
        verified(journal)


def test_a_log_from_before_the_chain_is_chained_in_its_order(postgres_server: PostgresServer) -> None:
    engine = create_engine(postgres_server.fresh("old"))
    migrate(engine, "0001")
    events = [event(number) for number in (3, 1, 2)]
    with engine.begin() as db:
        for each in events:
            row = {name: getattr(each, name) for name in ("at", "actor", "action", "model", "subject")}
            db.execute(
                text(
                    "INSERT INTO audit_log (at, actor, action, model, subject, body)"
                    " VALUES (:at, :actor, :action, :model, :subject, CAST(:body AS jsonb))"
                ),
                row | {"body": canonical_json(each.to_dict()).decode()},
            )
    migrate(engine)
    journal = PostgresLedger(engine).journal
    assert verified(journal).whole
    assert [kept for _, kept in journal.audit_log()] == events
    journal.audit(event(7))
    assert verified(journal).entries == 4
    engine.dispose()
