"""The commands that read, on a real ledger: tables for people, JSON for programs, clear errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures.database import PostgresServer
from typer.testing import CliRunner

from modelyard.adapters.db.engine import connect, migrate
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.cli import app
from modelyard.core.records import AuditEvent, Incident, Release
from modelyard.core.verdict import Decision, Severity

NOW = datetime(2013, 4, 9, tzinfo=UTC)
A, B = ("sha256:" + letter * 64 for letter in "ab")
runner = CliRunner()


@pytest.fixture
def ledger(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresLedger]:
    """A ledger of the test's own, and an environment that names it and the model ``toy``."""
    url = postgres_server.fresh("cli")
    engine = connect(url)
    migrate(engine)
    monkeypatch.setenv("MODELYARD_ROOT", str(tmp_path))
    monkeypatch.setenv("MODELYARD_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    assert runner.invoke(app, ["init", "toy"]).exit_code == 0
    yield PostgresLedger(engine)
    engine.dispose()


def run(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def crowned(ledger: PostgresLedger) -> Release:
    release = Release(
        model="toy", version=1, semver="1.0.0", mlflow_run_id="run1", code_commit="c", created_at=NOW, as_of=NOW,
        reason="first", author="me", snapshot=A, dvc_md5="0" * 32, files={"model.onnx": A}, parts={},
    )  # fmt: skip
    ledger.releases.add(release, "file:///nowhere")
    ledger.releases.crown("toy", release.digest, "r1", NOW)
    return release


def test_an_empty_platform_says_what_to_do(ledger: PostgresLedger) -> None:
    for arguments in (
        ["audit", "show"],
        ["incidents"],
        ["decisions", "toy"],
        ["releases", "toy"],
        ["drift", "history", "toy"],
    ):
        assert "none." in run(*arguments)
    assert "none yet" in run("status")


def test_status_shows_champion_check_and_incidents(ledger: PostgresLedger) -> None:
    release = crowned(ledger)
    ledger.journal.check("toy", NOW, {"as_of": NOW.isoformat(), "action": "watch"})
    incident = Incident(
        key="k", model="toy", kind="drift", severity=Severity.WARNING, title="look at this", detail="d", opened_at=NOW
    )
    ledger.journal.raise_incident(incident)
    assert "look at this" in run("status")
    status = json.loads(run("status", "--json"))["toy"]
    assert status["champion"]["release"] == release.digest
    assert status["last_check"]["action"] == "watch"
    assert status["incidents"] == [[1, "look at this"]]
    assert json.loads(run("incidents", "--json"))[0]["title"] == "look at this"
    assert json.loads(run("releases", "toy", "--json"))[0]["version"] == 1
    assert "champion" in run("releases", "toy")


def test_a_person_closes_an_incident_and_the_audit_log_says_so(ledger: PostgresLedger) -> None:
    incident = Incident(
        key="k", model="toy", kind="drift", severity=Severity.WARNING, title="look at this", detail="d", opened_at=NOW
    )
    number = ledger.journal.raise_incident(incident)
    assert "look at this" in run("resolve", str(number), "--why", "the feed was mended")
    assert ledger.journal.incidents(open_only=True) == []
    assert ledger.journal.audit_log("toy")[-1][1].reason == "the feed was mended"
    assert runner.invoke(app, ["resolve", str(number), "--why", "again"]).exit_code == 1


def test_decisions_and_audit_are_shown_with_their_reasons(ledger: PostgresLedger) -> None:
    decision = Decision(
        kind="gates", action="ready", model="toy", subject=A, reasons=("all passed",), policy=B, as_of=NOW
    )
    ledger.journal.decide(decision)
    ledger.journal.audit(AuditEvent(at=NOW, actor="me", action="test", model="toy", subject=A, reason="to see"))
    assert "all passed" in run("decisions", "toy")
    assert json.loads(run("decisions", "toy", "--kind", "gates", "--json"))[0]["digest"] == decision.digest
    assert json.loads(run("decisions", "toy", "--kind", "governor", "--json")) == []
    assert "to see" in run("audit", "show", "toy")
    assert json.loads(run("audit", "show", "--json"))[0]["seq"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rollout", "status", "toy"], "no rollout of 'toy'"),
        (["rollout", "abort", "toy", "--why", "x"], "no rollout of toy is open"),
        (["rollout", "promote", "toy", "--why", "x"], "no open rollout of"),
        (["drift", "explain", "toy"], "has not been checked yet"),
        (["decisions", "toy", "--kind", "gate"], "Did you mean 'gates'?"),
        (["predict", "toy"], "exactly one of"),
        (["predict", "toy", "--rows", "{"], "a JSON list"),
        (["predict", "toy", "--rows", "[]"], "MODELYARD_GATEWAY_URLS"),
        (["predict", "toy", "--example"], "no champion of"),
        (["replay", "toy"], "no earlier replay of"),
        (["init", "toy"], "exists already"),
        (["init", "Toy"], "lower-case"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_exits_with_1(
    ledger: PostgresLedger, arguments: list[str], says: str
) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollout", "history"], ["rollout", "status"], ["rollout", "abort", "--why", "x"], ["decisions"], ["incidents"],
        ["audit", "show"], ["releases"], ["drift", "history"], ["drift", "explain"],
    ],
)  # fmt: skip
def test_a_model_that_nobody_knows_is_an_error_that_lists_those_that_are(
    ledger: PostgresLedger, arguments: list[str]
) -> None:
    unknown = runner.invoke(app, [*arguments, "flights"])
    assert unknown.exit_code == 1
    assert "NotFound: no model 'flights'. Known: toy." in " ".join(unknown.output.split())
    assert "Did you mean 'toy'?" in runner.invoke(app, [*arguments, "toys"]).output


def test_the_records_of_a_model_whose_folder_is_gone_can_still_be_read(ledger: PostgresLedger, tmp_path: Path) -> None:
    crowned(ledger)
    shutil.rmtree(tmp_path / "projects" / "toy")
    assert "1.0.0" in run("releases", "toy")
    assert "none." in run("decisions", "toy")


def test_a_gateway_that_does_not_answer_is_said_so(ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_GATEWAY_URLS", "http://127.0.0.1:9")
    result = runner.invoke(app, ["predict", "toy", "--rows", "[]"])
    assert result.exit_code == 1
    assert "modelyard doctor" in " ".join(result.output.split())


def test_migrate_may_be_repeated(ledger: PostgresLedger) -> None:
    assert "newest schema" in run("db", "migrate")


def commands(group: object, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command.help or ""


def test_every_command_has_help_and_an_example() -> None:
    from typer.main import get_command

    found = list(commands(get_command(app)))
    assert len(found) > 15
    for name, text in found:
        assert f"Example: modelyard {' '.join(name)}" in text, name


def test_the_audit_log_is_verified_exported_and_a_forged_export_found(ledger: PostgresLedger, tmp_path: Path) -> None:
    release = crowned(ledger)
    ledger.journal.audit(AuditEvent(at=NOW, actor="ann", action="a", model="toy", subject=release.digest, reason="one"))
    ledger.journal.audit(AuditEvent(at=NOW, actor="bob", action="b", model="toy", subject=A, reason="two"))
    assert [e["actor"] for e in json.loads(run("audit", "show", "toy", "--version", "1", "--json"))] == ["ann"]
    assert json.loads(run("audit", "show", "--until", "2013-01-01", "--json")) == []
    bare = runner.invoke(app, ["audit", "verify", "--json"])  # this ledger notes no anchors: nothing tells a cut tail
    told = json.loads(bare.stdout)
    assert (bare.exit_code, told["whole"], told["entries"], len(told["faults"])) == (1, False, 2, 1)
    assert json.loads(run("audit", "verify", "--json", "--head", told["head"]))["whole"]
    file = tmp_path / "audit.jsonl"
    run("audit", "export", "--to", str(file))
    assert "whole" in run("audit", "verify", "--file", str(file), "--head", told["head"])
    refused = runner.invoke(app, ["audit", "export", "--to", str(file)])
    assert refused.exit_code == 1
    file.write_text(file.read_text(encoding="utf-8").replace("two", "six"), encoding="utf-8")
    forged = runner.invoke(app, ["audit", "verify", "--file", str(file)])
    assert forged.exit_code == 1
    assert "entry 2 was changed" in forged.output
    file.write_text(file.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    cut = runner.invoke(app, ["audit", "verify", "--file", str(file), "--head", told["head"]])
    assert cut.exit_code == 1
    assert "cut off" in cut.output
