"""An inferred contract passes on the weeks that follow, and fails where the data changed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from fixtures.flights import MODEL, ROOT

from modelyard.adapters.ge_validator import GreatExpectationsValidator
from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import EvidenceMissing
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Outcome
from modelyard.core.window import Window, parse_moment
from modelyard.data.frames import canonical
from modelyard.data.source import read_source
from modelyard.flows.contract import infer, resolve
from modelyard.validation.contract import Contract, read_contract
from modelyard.validation.infer import propose, written

if TYPE_CHECKING:
    from modelyard.wiring import ConnectedPlatform

START = parse_moment("2013-01-01")


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(MODEL, Settings.from_env({"MODELYARD_ROOT": str(ROOT)}))


@pytest.fixture(scope="module")
def year(project: Project) -> pd.DataFrame:
    return read_source(project, Window(start=START, end=START + timedelta(weeks=52)))


def weeks(year: pd.DataFrame, first: int, last: int) -> tuple[Snapshot, pd.DataFrame]:
    """What a snapshot of these weeks would hold at their end."""
    window = Window(start=START + timedelta(weeks=first), end=START + timedelta(weeks=last))
    inside = year["event_time"].between(window.start, window.end, inclusive="left")
    known = year["known_at"].le(window.end) & year["delayed"].notna()
    rows = canonical(year[inside & known].reset_index(drop=True), "key")
    return snapshot_of(rows, window), rows


def snapshot_of(rows: pd.DataFrame, window: Window) -> Snapshot:
    return Snapshot(
        model=MODEL,
        window=window,
        as_of=window.end,
        rows=len(rows),
        columns=tuple(rows.columns),
        content="sha256:" + "a" * 64,
        dvc_md5="0" * 32,
        path="rows.parquet",
    )


@pytest.fixture(scope="module")
def contract(project: Project, year: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Contract:
    snapshot, rows = weeks(year, 2, 14)
    path = tmp_path_factory.mktemp("contract") / "expectations.yaml"
    path.write_text(written(propose(project, snapshot, rows), snapshot))
    return read_contract(path)


def broken(contract: Contract, project: Project, snapshot: Snapshot, rows: pd.DataFrame, folder: Path) -> set[str]:
    rules, errors = resolve(None, project, snapshot, contract)  # type: ignore[arg-type]  no rule needs a platform
    report = GreatExpectationsValidator(folder).validate(snapshot, rows, rules, snapshot.as_of)
    return {v.check for v in (*report.verdicts, *errors) if v.outcome is not Outcome.SUCCESSFUL}


@pytest.mark.parametrize(("first", "last"), [*((week, week + 1) for week in range(14, 52)), (26, 38)])
def test_later_weeks_pass(
    contract: Contract, project: Project, year: pd.DataFrame, tmp_path: Path, first: int, last: int
) -> None:
    assert broken(contract, project, *weeks(year, first, last), tmp_path) == set()


def test_what_changed_is_seen(contract: Contract, project: Project, year: pd.DataFrame, tmp_path: Path) -> None:
    _, rows = weeks(year, 14, 15)
    window = Window(start=START + timedelta(weeks=14), end=START + timedelta(weeks=15))
    lots = np.arange(len(rows)) % 10 == 0
    changed = {
        "ExpectColumnValuesToBeInSet(carrier)": rows.assign(carrier=rows["carrier"].where(~lots, "ZZ")),
        "ExpectColumnValuesToBeBetween(distance)": rows.assign(distance=rows["distance"] * 5280),
        "ExpectColumnMeanToBeBetween(delayed)": rows.assign(delayed=1 - rows["delayed"]),
        "ExpectColumnValuesToNotBeNull(tailnum)": rows.assign(tailnum=rows["tailnum"].where(~lots, None)),
        "ExpectColumnValuesToBeOfType(distance)": rows.assign(distance=rows["distance"].astype(str)),
        "ExpectTableColumnsToMatchSet(table)": rows.assign(new=1.0),
        "RowsPerDay(table)": rows.iloc[:100],
        "FreshRows(known_at)": rows.assign(known_at=rows["known_at"] - pd.Timedelta(days=9)),
    }
    for rule, frame in changed.items():
        assert rule in broken(contract, project, snapshot_of(frame, window), frame, tmp_path), rule


def test_it_says_what_each_rule_was_made_from(project: Project, year: pd.DataFrame) -> None:
    snapshot, rows = weeks(year, 2, 4)
    text = written(propose(project, snapshot, rows), snapshot).splitlines()
    assert snapshot.content in text[0]
    rules = [place for place, line in enumerate(text) if line.startswith("  - ")]
    assert len(rules) > 20
    assert all(text[place - 1].startswith("  # ") for place in rules)


def test_a_few_rows_are_no_basis(project: Project, year: pd.DataFrame) -> None:
    snapshot, rows = weeks(year, 2, 3)
    with pytest.raises(EvidenceMissing, match="no basis"):
        propose(project, snapshot, rows.iloc[:99])


def test_odd_columns_are_no_trouble(project: Project, year: pd.DataFrame, tmp_path: Path) -> None:
    """All missing, constant, infinite: rules that hold on the rows they were made from, or no rule."""
    snapshot, rows = weeks(year, 2, 3)
    odd = rows.assign(none=np.nan, one=1.0, far=np.where(np.arange(len(rows)) == 5, np.inf, 2.0), words=None)
    path = tmp_path / "expectations.yaml"
    path.write_text(written(propose(project, snapshot, odd), snapshot))
    found = broken(read_contract(path), project, snapshot, odd, tmp_path)
    assert found <= {"ExpectColumnValuesToBeBetween(far)"}
    assert found, "an infinity is outside of every proposed range"


def test_the_newest_snapshot_is_looked_at(flights: ConnectedPlatform, admitted: str) -> None:
    assert infer(flights, MODEL).splitlines()[0] == f"# Proposed from snapshot {admitted}"
