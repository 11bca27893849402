"""Validation by Great Expectations: what is broken is quarantined, and nothing downstream sees it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures.flights import AS_OF, MODEL, ROOT, WINDOW

from modelyard.adapters.ge_validator import GreatExpectationsValidator
from modelyard.core.digest import digest_file
from modelyard.core.errors import ConfigError, Conflict, ValidationFailed
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Outcome, Severity
from modelyard.flows.features import training_frame
from modelyard.flows.snapshot import read_valid, take
from modelyard.flows.validate import decide, validate
from modelyard.ports.datasets import ValidationReport
from modelyard.validation.contract import read_contract

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.wiring import ConnectedPlatform


def put(platform: ConnectedPlatform, rows: pd.DataFrame) -> str:
    snapshot = platform.datasets.put(MODEL, WINDOW, AS_OF, rows)
    platform.ledger.snapshots.add(snapshot)
    return snapshot.content


@pytest.fixture(scope="module")
def rows(flights: ConnectedPlatform, admitted: str) -> pd.DataFrame:
    return read_valid(flights, admitted)[1]


def test_good_rows_are_admitted_and_documented(flights: ConnectedPlatform, admitted: str) -> None:
    assert flights.ledger.snapshots.state(admitted) == "valid"
    (decision,) = flights.ledger.journal.decisions(MODEL, "validation", admitted)
    assert decision.action == "admit"
    report = validate(flights, admitted)
    first = {v.check for v in report.verdicts if v.outcome is not Outcome.SUCCESSFUL}
    assert first == {f"DistributionLikeReference({name})" for name in ("distance", "sched_minute")}  # no champion yet
    assert "<html" in Path(report.document).read_text()


def test_a_critical_failure_stops_the_line(flights: ConnectedPlatform, rows: pd.DataFrame) -> None:
    content = put(flights, rows.assign(origin="XXX", sched_minute=-5.0))
    with pytest.raises(ValidationFailed, match=r"quarantined.*origin.*mend the source"):
        validate(flights, content)
    journal = flights.ledger.journal
    assert flights.ledger.snapshots.state(content) == "quarantined"
    (decision,) = journal.decisions(MODEL, "validation", content)
    assert decision.action == "quarantine"
    assert len(decision.reasons) == 2
    (incident,) = [i for _, state, i in journal.incidents(MODEL) if content in i.key and state == "open"]
    assert incident.severity is Severity.BLOCKER
    assert decision.digest in incident.evidence
    assert [e.action for _, e in journal.audit_log(MODEL) if e.subject == content] == ["snapshot.quarantine"]
    with pytest.raises(Conflict, match="is quarantined"):
        training_frame(flights, MODEL, content)
    with pytest.raises(ValidationFailed):
        validate(flights, content)


def test_only_another_suite_admits_a_quarantined_snapshot(
    flights: ConnectedPlatform, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, journal = put(flights, rows.assign(origin="XXX")), flights.ledger.journal
    shipped, mended = ROOT / "projects" / MODEL / "expectations.yaml", tmp_path / "expectations.yaml"
    mended.write_text("expectations:\n  - {type: ExpectColumnValuesToBeUnique, severity: critical, column: key}\n")
    with pytest.raises(ValidationFailed):
        validate(flights, content)
    monkeypatch.setattr("modelyard.flows.validate.SUITE", mended)
    now = AS_OF + timedelta(days=1)
    for _ in range(2):
        validate(flights, content, now=now)
    assert flights.ledger.snapshots.state(content) == "valid"
    events = [e for _, e in journal.audit_log(MODEL) if e.subject == content]
    assert [e.action for e in events] == ["snapshot.quarantine", "snapshot.readmit"]
    assert (events[-1].at, events[-1].detail["as_of"]) == (now, AS_OF.isoformat())
    assert digest_file(mended) in events[-1].digests
    assert not [i for _, state, i in journal.incidents(MODEL) if content in i.key and state == "open"]
    monkeypatch.setattr("modelyard.flows.validate.SUITE", shipped)
    with pytest.raises(ValidationFailed):
        validate(flights, content)
    assert flights.ledger.snapshots.state(content) == "quarantined"


def test_a_warning_lets_pass_and_is_said(flights: ConnectedPlatform, rows: pd.DataFrame) -> None:
    content = put(flights, rows.assign(delayed=1.0))
    validate(flights, content)
    (decision,) = flights.ledger.journal.decisions(MODEL, "validation", content)
    assert decision.action == "admit"
    assert any("Mean" in reason for reason in decision.reasons)


def test_a_vanished_column_is_no_pass(flights: ConnectedPlatform, rows: pd.DataFrame) -> None:
    content = put(flights, rows.drop(columns="distance"))
    with pytest.raises(ValidationFailed, match="distance"):
        validate(flights, content)
    (decision,) = flights.ledger.journal.decisions(MODEL, "validation", content)
    expected = [v for v in decision.verdicts if "distance" in v.check and v.check.startswith("Expect")]
    assert {v.outcome for v in expected} == {Outcome.ERROR}


def test_what_is_not_validated_yet_is_not_read(flights: ConnectedPlatform, rows: pd.DataFrame) -> None:
    content = put(flights, rows.iloc[:500])
    with pytest.raises(Conflict, match="is new; only valid ones"):
        read_valid(flights, content)


def test_the_same_snapshot_twice_is_one_version(flights: ConnectedPlatform, admitted: str) -> None:
    assert take(flights, MODEL, AS_OF, WINDOW).content == admitted


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "{type: ExpectColumnValuesToBeUniqe, severity: critical, column: key}",
            "Did you mean 'ExpectColumnValuesToBeU",
        ),
        ("{type: ExpectColumnValuesToBeUnique, severity: fatal, column: key}", "critical, warning"),
        ("{type: ExpectColumnValuesToBeUnique, severity: critical, colum: key}", "Did you mean 'column'"),
        ("{type: ExpectColumnValuesToBeUnique, severity: critical}", "column"),
    ],
)
def test_a_wrong_suite_is_refused(
    flights: ConnectedPlatform, admitted: str, rows: pd.DataFrame, tmp_path: Path, line: str, says: str
) -> None:
    suite = tmp_path / "expectations.yaml"
    suite.write_text(f"expectations:\n  - {line}\n")
    snapshot = flights.ledger.snapshots.get(admitted)
    validator = GreatExpectationsValidator(tmp_path / "docs")
    with pytest.raises(ConfigError, match=says):
        validator.validate(snapshot, rows, read_contract(suite).rules, AS_OF)


def test_no_verdict_is_no_admission(flights: ConnectedPlatform, admitted: str) -> None:
    snapshot: Snapshot = flights.ledger.snapshots.get(admitted)
    report = ValidationReport(snapshot=admitted, verdicts=(), document="none", as_of=AS_OF)
    assert decide(snapshot, report, "sha256:" + "0" * 64).action == "quarantine"
