"""Counts what an expectation needs, and lets Great Expectations decide on the counts.

An expectation of Great Expectations names the metrics that it decides on; here they come from ``validation.breaks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.ports.datasets import Rule
from modelyard.validation.breaks import Breaks, Table, breaks

MOST_EXAMPLES = 1000
"""Broken values that are handed over, for the examples in the document; the counts are of all."""
_AGGREGATES = {"column.mean": "mean", "column.max": "max", "column.min": "min"}


def counted(table: Table, rule: Rule, expectation: Any, result_format: str) -> Any:
    """Great Expectations' result on our counts; None where it has to count by itself."""
    try:
        found = breaks(table, rule.type, rule.arguments)
        runtime = {"result_format": {"result_format": result_format}}
        wanted = expectation.get_validation_dependencies(
            execution_engine=None, runtime_configuration=dict(runtime)
        ).metric_configurations
        metrics = _metrics(table, rule, found, wanted)
    except Exception:  # noqa: BLE001  whatever is wrong, Great Expectations says it in its own words
        return None
    if metrics is None:
        return None
    result = expectation.metrics_validate(metrics, runtime_configuration=runtime)
    result.expectation_config = expectation.configuration
    return result


def _metrics(table: Table, rule: Rule, found: Breaks | None, wanted: Mapping[str, Any]) -> dict[Any, Any] | None:
    """A value for each wanted metric, by its identity; None if one of them is not known here."""
    metrics: dict[Any, Any] = {}
    for name, configuration in wanted.items():
        known, value = _value(table, rule, found, name)
        if not known:
            return None
        metrics[configuration.id] = value
    return metrics


def _value(table: Table, rule: Rule, found: Breaks | None, name: str) -> tuple[bool, Any]:
    if name == "table.row_count":
        return True, len(table.frame)
    if name == "table.columns":
        return True, [str(c) for c in table.frame.columns]
    if name in _AGGREGATES and not rule.arguments.get("row_condition"):
        return _aggregate(table, rule.arguments["column"], _AGGREGATES[name])
    return (False, None) if found is None else _of_rows(table, rule, found, name)


def _of_rows(table: Table, rule: Rule, found: Breaks, name: str) -> tuple[bool, Any]:
    if name == "column_values.nonnull.unexpected_count":
        return True, int(table.missing(rule.arguments["column"]).sum())
    match name.rpartition(".")[2]:
        case "unexpected_count":
            return True, int(found.broken.sum())
        case "filtered_row_count":
            return True, found.considered
        case "unexpected_values":
            return True, _examples(table, rule, found)
        case "unexpected_index_list":
            return True, np.flatnonzero(found.broken)[:MOST_EXAMPLES].tolist()
        case "unexpected_index_query":
            return True, None
    return False, None


def _aggregate(table: Table, column: str, name: str) -> tuple[bool, Any]:
    import pandas as pd

    values = table.frame[column]
    if table.frame.columns.has_duplicates or not (
        values.dtype in (np.dtype("int64"), np.dtype("float64"))
        or (name != "mean" and isinstance(values.dtype, pd.DatetimeTZDtype))
    ):
        return False, None
    return True, getattr(values, name)()


def _examples(table: Table, rule: Rule, found: Breaks) -> list[Any]:
    places = np.flatnonzero(found.broken)[:MOST_EXAMPLES]
    rows = table.frame[list(dict.fromkeys(found.columns))].iloc[places]
    if len(found.columns) == 1:
        return rows.iloc[:, 0].tolist()
    plain = [tuple(row) for row in rows.itertuples(index=False)]
    # Great Expectations writes a pair as a pair, and more columns as a mapping.
    return plain if "column_list" not in rule.arguments else [dict(zip(rows.columns, r, strict=True)) for r in plain]
