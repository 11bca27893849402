"""Bad rows: set aside with a reason each where the contract allows it, and the whole snapshot blocked otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fixtures.flights import AS_OF, MODEL, ROOT, WINDOW

from modelyard.core.errors import IntegrityError, ValidationFailed
from modelyard.core.verdict import Decision, Outcome
from modelyard.flows.snapshot import read_valid
from modelyard.flows.validate import validate

if TYPE_CHECKING:
    from modelyard.wiring import ConnectedPlatform

CONTRACT = """
bad_rows: {max_share: 0.02}
expectations:
  - {type: ExpectColumnValuesToBeUnique, severity: critical, column: key}
  - {type: ExpectColumnValuesToBeBetween, severity: warning, bad_rows: set_aside, column: distance, max_value: 6000}
  - {type: ExpectColumnPairValuesAToBeGreaterThanB, severity: critical, column_A: known_at, column_B: event_time}
  - {type: ValuesReferTo, severity: warning, bad_rows: set_aside, column: carrier, table: carrier_recent, key: carrier}
"""


@pytest.fixture(scope="module")
def rows(flights: ConnectedPlatform, admitted: str) -> pd.DataFrame:
    return read_valid(flights, admitted)[1]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "expectations.yaml"
    path.write_text(CONTRACT)
    monkeypatch.setattr("modelyard.flows.validate.SUITE", path)
    return path


def put(platform: ConnectedPlatform, rows: pd.DataFrame) -> str:
    snapshot = platform.datasets.put(MODEL, WINDOW, AS_OF, rows)
    platform.ledger.snapshots.add(snapshot)
    return snapshot.content


def decision(platform: ConnectedPlatform, content: str) -> Decision:
    return platform.ledger.journal.decisions(MODEL, "validation", content)[-1]


def kept(platform: ConnectedPlatform, content: str) -> Path:
    beside = platform.datasets.path(platform.ledger.snapshots.get(content))
    (path,) = beside.parent.glob(f"{beside.stem}.bad-rows.*.parquet")
    return path


def spoilt(rows: pd.DataFrame, **places: dict[int, Any]) -> pd.DataFrame:
    frame = rows.copy()
    for column, values in places.items():
        for place, value in values.items():
            frame.loc[place, column] = value
    return frame


def test_bad_rows_are_set_aside_with_their_reasons(flights: ConnectedPlatform, rows: pd.DataFrame, suite: Path) -> None:
    content = put(flights, spoilt(rows, distance={3: np.inf, 7: 9000.0}, carrier={7: "ZZ", 11: "QQ"}))
    validate(flights, content)
    admitted = decision(flights, content)
    assert admitted.action == "admit"
    (together,) = [v for v in admitted.verdicts if v.check == "bad_rows"]
    assert together.outcome is Outcome.SUCCESSFUL
    assert {m.name: m.value for m in together.measurements}["rows_set_aside"] == 3
    path = kept(flights, content)
    assert str(path) in "; ".join(admitted.reasons)
    found = pd.read_parquet(path)
    named = list(zip(found["row"], found["rule"], found["value"], strict=True))
    assert named == [
        (3, "ExpectColumnValuesToBeBetween(distance)", "inf"),
        (7, "ExpectColumnValuesToBeBetween(distance)", "9000.0"),
        (7, "ValuesReferTo(carrier)", "ZZ"),
        (11, "ValuesReferTo(carrier)", "QQ"),
    ]
    assert found["key"].tolist() == rows.loc[[3, 7, 7, 11], "key"].tolist()
    left = read_valid(flights, content)[1]
    assert left["key"].tolist() == rows.drop(index=[3, 7, 11])["key"].tolist()


def test_too_many_block_the_whole(flights: ConnectedPlatform, rows: pd.DataFrame, suite: Path) -> None:
    many = rows.assign(distance=rows["distance"].where(np.arange(len(rows)) % 40 != 0, 9000.0))
    content = put(flights, many)
    with pytest.raises(ValidationFailed, match=r"2\.5.%\) are more than the 2\.00% that may be set aside"):
        validate(flights, content)
    assert flights.ledger.snapshots.state(content) == "quarantined"
    assert pd.read_parquet(kept(flights, content))["row"].nunique() == -(-len(rows) // 40)


def test_a_critical_rule_never_sets_aside(flights: ConnectedPlatform, rows: pd.DataFrame, suite: Path) -> None:
    content = put(flights, spoilt(rows, known_at={5: rows.loc[5, "event_time"]}))
    with pytest.raises(ValidationFailed, match="GreaterThanB"):
        validate(flights, content)
    found = pd.read_parquet(kept(flights, content))
    assert found[["row", "severity", "set_aside"]].to_numpy().tolist() == [[5, "blocker", False]]


def test_without_its_file_nothing_is_read(flights: ConnectedPlatform, rows: pd.DataFrame, suite: Path) -> None:
    content = put(flights, spoilt(rows, distance={1: 9000.0}))
    validate(flights, content)
    kept(flights, content).write_bytes(b"another")
    with pytest.raises(IntegrityError, match="modelyard data validate"):
        read_valid(flights, content)
    validate(flights, content)
    assert len(read_valid(flights, content)[1]) == len(rows) - 1


@pytest.mark.parametrize(
    "rule",
    [
        "type: ExpectColumnValuesToBeBetween, column: distance, max_value: 6000, %s",
        "type: ExpectColumnValuesToBeBetween, column: distance, max_value: 6000, mostly: 0.5, %s",
        "type: ValuesReferTo, column: carrier, table: weather, key: nothing",
    ],
)
def test_rows_that_cannot_be_named_are_not_trained_on(
    flights: ConnectedPlatform, rows: pd.DataFrame, suite: Path, rule: str
) -> None:
    """A condition, with and without a share that may break it; a table that cannot be read."""
    line = rule.replace("%s", "condition_parser: pandas, row_condition: distance > 0")
    aside = f"  - {{severity: warning, bad_rows: set_aside, {line}}}"
    suite.write_text(f"bad_rows: {{max_share: 0.02}}\nexpectations:\n{aside}\n")
    content = put(flights, spoilt(rows, distance={3: 9000.0 + len(rule)}))
    with pytest.raises(ValidationFailed, match="cannot be told"):
        validate(flights, content)
    assert flights.ledger.snapshots.state(content) == "quarantined"


@pytest.mark.parametrize(
    ("line", "outcome", "says"),
    [
        ("{type: FreshRows, severity: critical, column: known_at, max_age_hours: 24}", Outcome.SUCCESSFUL, "holds"),
        ("{type: FreshRows, severity: critical, column: event_time, max_age_hours: 1}", Outcome.FAILED, "found 2013"),
        ("{type: RowsPerDay, severity: critical, min_value: 100, max_value: 2000}", Outcome.SUCCESSFUL, "holds"),
        ("{type: RowsPerDay, severity: critical, min_value: 1000, max_value: 2000}", Outcome.FAILED, "found"),
        (
            "{type: ValuesReferTo, severity: critical, column: origin, table: weather, key: origin}",
            Outcome.SUCCESSFUL,
            "holds",
        ),
        (
            "{type: ValuesReferTo, severity: critical, column: dest, table: weather, key: origin}",
            Outcome.FAILED,
            "rows break it",
        ),
        (
            "{type: ValuesReferTo, severity: critical, column: dest, table: ../x.csv, key: code}",
            Outcome.ERROR,
            "a CSV or Parquet file",
        ),
        (
            "{type: ValuesReferTo, severity: critical, column: dest, table: weather, key: nothing}",
            Outcome.ERROR,
            "nothing",
        ),
        (
            "{type: DistributionLikeReference, severity: critical, column: distance, max_psi: 0.2}",
            Outcome.INCONCLUSIVE,
            "no champion yet",
        ),
    ],
)
def test_rules_of_the_platform(
    flights: ConnectedPlatform, admitted: str, suite: Path, line: str, outcome: Outcome, says: str
) -> None:
    always = "{type: ExpectColumnValuesToNotBeNull, severity: critical, column: key}"
    suite.write_text(f"expectations:\n  - {always}\n  - {line}\n")
    blocks = outcome in (Outcome.FAILED, Outcome.ERROR)
    content = put(flights, read_valid(flights, admitted)[1].iloc[: 1000 + len(line) + len(says)])
    try:
        validate(flights, content)
    except ValidationFailed:
        assert blocks
    (verdict,) = [v for v in decision(flights, content).verdicts if v.check != "ExpectColumnValuesToNotBeNull(key)"]
    assert (verdict.outcome, says in verdict.reason) == (outcome, True), verdict.reason
    assert (decision(flights, content).action == "quarantine") == blocks


def test_the_shipped_contract_reads() -> None:
    from modelyard.validation.contract import read_contract

    assert len(read_contract(ROOT / "projects" / MODEL / "expectations.yaml").rules) >= 20
