"""What is decided about a release is signed when it happens; what the database says otherwise afterwards is found."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fixtures.keys import STRANGER, TRUST
from integration.flows.decisions import NOW, Here, evidence, here
from sqlalchemy import text

from modelyard.core.errors import GateBlocked
from modelyard.core.records import Approval, Attestation, Release
from modelyard.flows import attest, gate, govern

if TYPE_CHECKING:
    from sqlalchemy import Engine

ONE, TWO = "demo-approver-1", "demo-approver-2"


@pytest.fixture
def platform(ledger_engine: Engine, tmp_path: Path) -> Here:
    return here(ledger_engine, tmp_path)


def approved(platform: Here) -> Release:
    """A first release that two people have approved."""
    release = platform.release()
    gates = gate.assess(platform, release.digest, evidence(release), NOW, now=NOW).digest
    for hours, person in enumerate((ONE, TWO, TWO)):  # the last task is repeated
        at = NOW + timedelta(hours=min(hours, 1))
        govern.answer(platform, release.digest, gates, by=person, at=at, approve=True, comment="looks right")
    for _ in range(2):
        govern.conclude(platform, release.digest, gates, now=NOW)
    return release


def kept(platform: Here, release: Release) -> list[Attestation]:
    return platform.ledger.journal.attestations(release.digest)


def faults(platform: Here, release: Release) -> list[str]:
    return list(attest.faults(platform, release, TRUST))


def statement(one: Attestation) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(b64decode(json.loads(one.envelope)["payload"]))
    return said


def test_gates_answers_and_conclusion_are_attested_once_each(platform: Here) -> None:
    release = approved(platform)
    found = kept(platform, release)
    assert [(one.kind, one.actor) for one in found] == [
        ("gates", "gates"), ("approval", ONE), ("approval", TWO), ("governance", govern.POLICY_ACTOR),
    ]  # fmt: skip
    assert faults(platform, release) == []
    assert statement(found[1]) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "flight_delay@1", "digest": {"sha256": release.digest.removeprefix("sha256:")}}],
        "predicateType": "https://modelyard/approval/v1",
        "predicate": {
            "cites": platform.ledger.journal.approvals(release.digest)[0].digest, "actor": ONE, "at": NOW.isoformat(),
            "answer": "approve", "automatic": False, "comment": "looks right", "decision": found[0].cites,
            "where": "airflow",
        },
    }  # fmt: skip


def test_what_the_gates_decide_anew_is_attested_anew(platform: Here) -> None:
    release = platform.release()
    good, bad = evidence(release), evidence(release, auc=0.5)
    for measured in (good, good, bad, bad, good):
        try:
            gate.assess(platform, release.digest, measured, NOW)
        except GateBlocked:
            assert measured is bad
    assert [statement(one)["predicate"]["action"] for one in kept(platform, release)] == ["ready", "blocked", "ready"]
    assert faults(platform, release) == []


def forge_answer(platform: Here, release: Release) -> None:
    """Somebody who may write the database adds an answer that nobody gave."""
    gates = platform.ledger.journal.decisions(release.model, "gates", release.digest)[-1].digest
    given = Approval(release=release.digest, decision=gates, by="admin", at=NOW, answer="approve", automatic=False)
    platform.ledger.journal.approve(given)


def sql(command: str) -> Any:
    def run(platform: Here, release: Release) -> None:
        with platform.ledger.journal._engine.begin() as db:
            db.execute(text(command))

    return run


def lend(platform: Here, release: Release) -> None:
    """An attestation that somebody else's key has signed."""
    platform.signer = STRANGER
    forge_answer(platform, release)
    attest.attest_approval(platform, platform.ledger.journal.approvals(release.digest)[-1])


FORGERIES = {
    "an answer added": (forge_answer, ["the answer 'approve' of admin", "is not attested"]),
    "an answer changed": (
        sql("""UPDATE approvals SET body = jsonb_set(body, '{by}', '"ann"') WHERE by = 'demo-approver-1'"""),
        ["attestation of approval by demo-approver-1", "was changed", "'approve' of ann", "is not attested"],
    ),
    "a verdict changed": (
        sql("""UPDATE decisions SET body = jsonb_set(body, '{verdicts}', '[]') WHERE kind = 'gates'"""),
        ["attestation of gates", "was changed", "gates decision 'ready'", "is not attested"],
    ),
    "a decision removed": (sql("DELETE FROM decisions WHERE kind = 'gates'"), ["is not on record"]),
    "an attestation removed": (
        sql("DELETE FROM attestations WHERE kind = 'gates'"),
        ["is not attested"],
    ),
    "its actor changed": (
        sql("""UPDATE attestations SET body = jsonb_set(body, '{actor}', '"ann"') WHERE kind = 'gates'"""),
        ["attestation of gates by ann", "says otherwise than what was signed (actor)", "is not attested"],
    ),
    "a stranger's": (lend, ["attestation of approval by admin", "which is not trusted here", "is not attested"]),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_was_changed_in_the_database_is_found(platform: Here, forgery: str) -> None:
    release = approved(platform)
    do, says = FORGERIES[forgery]
    do(platform, release)
    found = " ".join(faults(platform, release))
    for expected in says:
        assert expected in found
