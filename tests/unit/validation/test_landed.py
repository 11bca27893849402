"""Which landed rows features are made without."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from modelyard.validation.landed import LandedRules, Sound

ROWS = pd.DataFrame(
    {"key": ["a", "b", "c", "c"], "age": [30.0, -1.0, 200.0, 40.0], "town": ["Bern", "Bern", "Rome", None]}
)


def judged(folder: Path, *rules: str, rows: pd.DataFrame = ROWS) -> Sound:
    text = "bad_rows: {max_share: 0.5}\nexpectations:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules)
    (folder / "expectations.yaml").write_text(text)
    return LandedRules(folder, ("recent",)).judge(rows)


AGE = "type: ExpectColumnValuesToBeBetween, column: age, min_value: 0"


@pytest.mark.parametrize(
    ("rule", "keep"),
    [
        (f"{AGE}, severity: warning, bad_rows: set_aside", [True, False, True, True]),
        (f"{AGE}, severity: warning, bad_rows: set_aside, mostly: 0.1", [True, False, True, True]),
        (f"{AGE}, severity: critical", [True, False, True, True]),
        (f"{AGE}, severity: critical, mostly: 0.5", [True] * 4),
        (f"{AGE}, severity: warning", [True] * 4),
        ("type: ExpectColumnValuesToNotBeNull, severity: critical, column: town", [True, True, True, False]),
        ("type: ExpectColumnMeanToBeBetween, severity: critical, column: age, max_value: 1", [True] * 4),
        ("type: ExpectColumnValuesToBeUnique, severity: critical, column: key", [True] * 4),
    ],
)
def test_rows_that_break_what_keeps_them_out_of_training(tmp_path: Path, rule: str, keep: list[bool]) -> None:
    found = judged(tmp_path, rule)
    assert found.keep.tolist() == keep
    assert (found.left_out, sum(found.broken.values())) == (keep.count(False),) * 2
    assert not found.not_applied


def test_a_row_that_breaks_two_rules_is_counted_once_and_with_each(tmp_path: Path) -> None:
    listed = "type: ExpectColumnValuesToNotBeInSet, severity: critical, column: key, value_set: [b, c]"
    rules = (f"{AGE}, severity: critical", listed)
    found = judged(tmp_path, *rules)
    assert found.left_out == 3
    assert list(found.broken.values()) == [1, 3]


def test_a_file_is_referred_to_and_a_view_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "towns.csv").write_text("name\nRome\n")
    rule = "type: ValuesReferTo, severity: warning, bad_rows: set_aside, column: town, key: name, table: {}"
    assert judged(tmp_path, rule.format("towns.csv")).keep.tolist() == [False, False, True, True]
    for table, why in (("recent", "made of these rows"), ("gone.csv", "gone.csv")):
        found = judged(tmp_path, rule.format(table))
        assert found.keep.all()
        assert why in found.not_applied["ValuesReferTo(town)"]


def test_a_rule_that_cannot_be_told_is_said_not_to_be_applied(tmp_path: Path) -> None:
    unique = "type: ExpectColumnValuesToBeUnique, severity: warning, bad_rows: set_aside, column: key"
    assert "several rows" in judged(tmp_path, unique).not_applied["ExpectColumnValuesToBeUnique(key)"]
    wanted = "ExpectColumnValuesToBeBetween(age)"
    texts = judged(tmp_path, f"{AGE}, severity: critical", rows=ROWS.astype({"age": str}))
    assert "cannot be told" in texts.not_applied[wanted]
    gone = judged(tmp_path, f"{AGE}, severity: critical", rows=ROWS.drop(columns="age"))
    assert "KeyError" in gone.not_applied[wanted]


def test_without_a_contract_all_rows_are_taken(tmp_path: Path) -> None:
    assert LandedRules(tmp_path, ()).judge(ROWS).keep.all()
