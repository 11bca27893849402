"""A data contract is checked when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.core.errors import ConfigError
from modelyard.core.verdict import Severity
from modelyard.validation.contract import read_contract

KEY = "{type: ExpectColumnValuesToBeUnique, severity: critical, column: key}"


def write(folder: Path, *lines: str, head: str = "") -> Path:
    path = folder / "expectations.yaml"
    path.write_text(head + "expectations:\n" + "".join(f"  - {line}\n" for line in lines))
    return path


def test_rules_have_names_of_their_own(tmp_path: Path) -> None:
    contract = read_contract(
        write(tmp_path, KEY, KEY, "{type: ExpectTableRowCountToEqual, severity: warning, value: 3}")
    )
    assert [r.id for r in contract.rules] == [
        "ExpectColumnValuesToBeUnique(key)",
        "ExpectColumnValuesToBeUnique(key)#2",
        "ExpectTableRowCountToEqual(table)",
    ]
    assert [r.severity for r in contract.rules] == [Severity.BLOCKER, Severity.BLOCKER, Severity.WARNING]
    assert contract.max_share == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("3", "a mapping"),
        ("{type: ExpectColumnValuesToBeUnique, column: key}", "critical, warning"),
        ("{severity: critical, column: key}", "type = None"),
        ("{type: FreshRows, severity: warning, column: known_at}", "max_age_hours = None"),
        ("{type: FreshRows, severity: warning, colum: known_at, max_age_hours: 3}", "Did you mean 'column'"),
        ("{type: RowsPerDay, severity: warning, min_value: -1, max_value: 3}", "from 0 on"),
        ("{type: RowsPerDay, severity: warning, min_value: .nan, max_value: 3}", "from 0 on"),
        ("{type: ExpectColumnValuesToBeUnique, severity: critical, bad_rows: set_aside, column: a}", "block"),
        ("{type: ExpectColumnMeanToBeBetween, severity: warning, bad_rows: set_aside, column: a}", "name the bad rows"),
        ("{type: ExpectColumnValuesToBeUnique, severity: warning, bad_rows: drop, column: a}", "set_aside"),
    ],
)
def test_wrong_lines_are_refused(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_contract(write(tmp_path, line, head="bad_rows: {max_share: 0.1}\n"))


@pytest.mark.parametrize(
    "head", ["bad_rows: 0.1\n", "bad_rows: {max_share: 1}\n", "bad_rows: {share: 0.1}\n", "x: 1\n"]
)
def test_a_wrong_head_is_refused(tmp_path: Path, head: str) -> None:
    with pytest.raises(ConfigError, match=r"max_share|accepted"):
        read_contract(write(tmp_path, KEY, head=head))


def test_setting_aside_needs_a_limit(tmp_path: Path) -> None:
    line = "{type: ExpectColumnValuesToBeUnique, severity: warning, bad_rows: set_aside, column: a}"
    with pytest.raises(ConfigError, match="max_share"):
        read_contract(write(tmp_path, line))
