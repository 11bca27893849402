"""Counting by ``validation.breaks`` and by Great Expectations alone come to the same verdicts, whatever the rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.adapters.ge_counts import counted
from modelyard.adapters.ge_validator import GreatExpectationsValidator, _expectation, _verdict, load
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Outcome, Severity, Verdict
from modelyard.core.window import Window
from modelyard.ports.datasets import Rule, ValidationReport
from modelyard.validation.breaks import ROW_RULES, Table, breaks

AS_OF = datetime(2020, 2, 1, tzinfo=UTC)
T = pd.Timestamp("2020-01-01", tz="UTC")

RULES: list[tuple[str, dict[str, Any]]] = [
    ("ExpectTableColumnsToMatchSet", {"column_set": ["a", "b", "s", "t", "u"], "exact_match": True}),
    ("ExpectTableRowCountToBeBetween", {"min_value": 2, "max_value": 5}),
    ("ExpectColumnToExist", {"column": "a"}),
    ("ExpectColumnToExist", {"column": "gone"}),
    ("ExpectColumnValuesToNotBeNull", {"column": "a"}),
    ("ExpectColumnValuesToNotBeNull", {"column": "s", "mostly": 0.5}),
    ("ExpectColumnValuesToNotBeNull", {"column": "gone"}),
    ("ExpectColumnValuesToBeUnique", {"column": "a"}),
    ("ExpectColumnValuesToBeUnique", {"column": "s"}),
    ("ExpectColumnValuesToBeUnique", {"column": "t", "mostly": 0.6}),
    ("ExpectColumnValuesToBeInSet", {"column": "a", "value_set": [0, 1.0, 2]}),
    ("ExpectColumnValuesToBeInSet", {"column": "s", "value_set": ["x", "y"], "mostly": 0.5}),
    ("ExpectColumnValuesToBeInSet", {"column": "a", "value_set": ["1", "0"]}),
    ("ExpectColumnValuesToNotBeInSet", {"column": "s", "value_set": ["x"]}),
    ("ExpectColumnValuesToNotBeInSet", {"column": "a", "value_set": [float("inf")]}),
    ("ExpectColumnValuesToMatchRegex", {"column": "s", "regex": "^[a-z]$"}),
    ("ExpectColumnValuesToMatchRegex", {"column": "a", "regex": "^1"}),
    ("ExpectColumnValuesToMatchRegex", {"column": "s", "regex": "(?<=x)y("}),
    ("ExpectColumnValuesToNotMatchRegex", {"column": "s", "regex": "y$"}),
    ("ExpectColumnValuesToBeBetween", {"column": "a", "min_value": 0, "max_value": 1}),
    ("ExpectColumnValuesToBeBetween", {"column": "a", "min_value": 0, "max_value": 1, "strict_min": True}),
    ("ExpectColumnValuesToBeBetween", {"column": "b", "max_value": 0.1}),
    ("ExpectColumnValuesToBeBetween", {"column": "s", "min_value": 0}),
    ("ExpectColumnValuesToBeBetween", {"column": "t", "min_value": T, "max_value": T + pd.Timedelta(days=1)}),
    ("ExpectColumnMeanToBeBetween", {"column": "a", "min_value": 0, "max_value": 1}),
    ("ExpectColumnMaxToBeBetween", {"column": "a", "max_value": 1}),
    ("ExpectColumnMinToBeBetween", {"column": "a", "min_value": 0, "strict_min": True}),
    ("ExpectColumnMaxToBeBetween", {"column": "t", "min_value": T.to_pydatetime(), "max_value": AS_OF}),
    ("ExpectColumnMedianToBeBetween", {"column": "a", "min_value": 0, "max_value": 1}),
    ("ExpectColumnValuesToBeOfType", {"column": "a", "type_": "float64"}),
    ("ExpectColumnValuesToBeOfType", {"column": "s", "type_": "str"}),
    ("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": "u", "column_B": "t"}),
    ("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": "a", "column_B": "b", "or_equal": True}),
    (
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "a", "column_B": "b", "ignore_row_if": "either_value_is_missing"},
    ),
    ("ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": "a", "column_B": "b", "ignore_row_if": "neither"}),
    ("ExpectColumnPairValuesToBeEqual", {"column_A": "a", "column_B": "b"}),
    ("ExpectColumnPairValuesToBeEqual", {"column_A": "a", "column_B": "s"}),
    ("ExpectCompoundColumnsToBeUnique", {"column_list": ["a", "s"]}),
    ("ExpectCompoundColumnsToBeUnique", {"column_list": ["a", "s"], "ignore_row_if": "any_value_is_missing"}),
    ("ExpectCompoundColumnsToBeUnique", {"column_list": ["a", "gone"]}),
    ("ExpectColumnValuesToBeBetween", {"column": "a", "min_value": 0, "row_condition": "b > 0",
                                       "condition_parser": "pandas"}),
]  # fmt: skip


def frame(a: Any, b: Any, s: Any, n: int) -> pd.DataFrame:
    """Columns of numbers, of text, and of two moments of which one is missing now and then."""
    t = pd.Series([T + pd.Timedelta(hours=i % 3) for i in range(n)], dtype="datetime64[us, UTC]")
    u = (t + pd.Timedelta(hours=1)).where(pd.Series([i % 4 != 3 for i in range(n)], dtype=bool))
    return pd.DataFrame({"a": a, "b": b, "s": s, "t": t, "u": u})


NAN, INF = float("nan"), float("inf")
NASTY: dict[str, pd.DataFrame] = {
    "plain": frame([0.0, 1.0, 0.5, 1.0], [0.0, 0.1, 0.2, 2.0], ["x", "y", "x", "xy"], 4),
    "nulls": frame([NAN, 1.0, NAN, 1.0], [NAN, 0.1, 0.2, NAN], [None, "y", NAN, "y"], 4),
    "infinities": frame([INF, -INF, 0.0, -0.0], [INF, 0.1, -INF, 0.0], ["x", "y", "z", ""], 4),
    "mixed types": frame([1, "1", 1.0, True], [0.0, 0.1, 0.2, 2.0], ["x", 1, 1.0, None], 4),
    "numbers as text": frame(["1", "2", None, "1"], [0.0, 0.1, 0.2, 2.0], ["1", "2", "x\n", "y\n"], 4),
    "whole numbers": frame([0, 1, 2, 2**60], [0, 1, 0, 1], ["x", "y", "é", "²"], 4),
    "flags": frame([True, False, True, True], [False, False, True, True], ["x", "y", "x", "y"], 4),
    "32 bits": frame(
        np.array([0.1, 1, 0, 1], "f4"), np.array([0.1, 0.2, 0, 1], "f4"), ["x", "y", "x", "y"], 4
    ),
    "all null": frame([NAN] * 4, [NAN] * 4, [None] * 4, 4),
    "constant": frame([1.0] * 4, [1.0] * 4, ["x"] * 4, 4),
    "one row": frame([0.5], [0.1], ["x"], 1),
    "empty": frame(
        pd.Series([], dtype=float), pd.Series([], dtype=float), pd.Series([], dtype=object), 0
    ),
    "duplicates": pd.concat([frame([0.5], [0.1], ["x"], 1)] * 5, ignore_index=True),
    "nullable types": frame([1.0, 2.0, 3.0, 1.0], [0.0, 0.1, 0.2, 2.0], ["x", "y", "x", None], 4).astype(
        {"a": "Int64", "b": "Float64", "s": "category"}
    ),
    "lists": frame([0.0, 1.0, 2.0, 3.0], [0.0, 0.1, 0.2, 2.0], [["x"], ["x"], None, "x"], 4),
    "a vanished and a new column": frame([0.0, 1.0, 2.0, 3.0], [0.0] * 4, ["x"] * 4, 4).rename(columns={"b": "new"}),
}  # fmt: skip


def rules() -> tuple[Rule, ...]:
    return tuple(
        Rule(id=f"{place}:{kind}", type=kind, severity=Severity.WARNING, arguments=arguments)
        for place, (kind, arguments) in enumerate(RULES)
    )


def snapshot_of(rows: pd.DataFrame) -> Snapshot:
    return Snapshot(
        model="nasty",
        window=Window(start=datetime(2020, 1, 1, tzinfo=UTC), end=AS_OF),
        as_of=AS_OF,
        rows=len(rows),
        columns=tuple(map(str, rows.columns)),
        content="sha256:" + "a" * 64,
        dvc_md5="0" * 32,
        path="nasty.parquet",
    )


def validate(folder: Path, rows: pd.DataFrame, *, alone: bool) -> ValidationReport:
    validator = GreatExpectationsValidator(folder / str(alone), alone=alone)
    return validator.validate(snapshot_of(rows), rows, rules(), AS_OF)


@pytest.fixture(scope="module")
def sources() -> Any:
    gx = load()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context.data_sources


def plainly(verdict: Verdict) -> tuple[Any, ...]:
    """Without the examples: the same values, which Great Expectations writes as numpy does."""
    return verdict.check, verdict.outcome, verdict.reason.partition(" (for")[0], verdict.measurements


@pytest.mark.parametrize("name", NASTY)
def test_both_ways_come_to_the_same_verdicts(name: str, sources: Any) -> None:
    rows, snapshot = NASTY[name], snapshot_of(NASTY[name])
    asset = sources.add_pandas(name).add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows})
    table = Table(rows)
    for rule in rules():
        expectation = _expectation(load(), rule, "")
        ours = counted(table, rule, expectation, "SUMMARY")
        if ours is not None:
            theirs = batch.validate(expectation, result_format="SUMMARY")
            assert plainly(_verdict(rule, ours, snapshot)) == plainly(_verdict(rule, theirs, snapshot))


def test_the_whole_report_is_the_same_and_documented(tmp_path: Path) -> None:
    ours, theirs = (validate(tmp_path, NASTY["nulls"].copy(), alone=alone) for alone in (False, True))
    assert [plainly(v) for v in ours.verdicts] == [plainly(v) for v in theirs.verdicts]
    pages = [
        sorted(p.name for p in Path(report.document).parent.rglob("*.html") if "validations" not in p.parts)
        for report in (ours, theirs)
    ]
    assert pages[0] == pages[1]
    (page,) = Path(ours.document).parent.glob("validations/**/*.html")
    text = page.read_text()
    assert "unexpected values found" in text
    assert "Statistics" in text


def test_each_rule_is_counted_by_us_somewhere_and_breaks_somewhere() -> None:
    """Else the test above would compare Great Expectations with itself."""
    mine, broken = set(), set()
    for rule in rules():
        expectation = _expectation(load(), rule, "")
        for rows in NASTY.values():
            if counted(Table(rows), rule, expectation, "SUMMARY") is not None:
                mine.add(rule.type)
                found = breaks(Table(rows), rule.type, rule.arguments)
                broken |= {rule.type} if found is not None and found.broken.any() else set()
    assert set(ROW_RULES) <= mine
    assert set(ROW_RULES) == broken
    assert {"ExpectColumnMeanToBeBetween", "ExpectColumnMaxToBeBetween", "ExpectTableColumnsToMatchSet"} <= mine


def test_a_column_without_values_is_no_evidence(tmp_path: Path) -> None:
    report = validate(tmp_path, NASTY["all null"], alone=False)
    outcomes = {v.check.partition(":")[2]: v.outcome for v in report.verdicts if "Regex" in v.check}
    assert set(outcomes.values()) <= {Outcome.INCONCLUSIVE, Outcome.ERROR}
