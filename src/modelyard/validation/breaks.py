"""Which rows break a rule, in whole columns at a time; Great Expectations still decides what that means.

Great Expectations copies the whole table for each expectation; this looks at the columns in question, each once. It
knows the rules below for the types of column in which its answer is that of Great Expectations' own pandas engine,
value by value (tested side by side); for everything else it has no answer, and Great Expectations is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Breaks:
    """``broken``: which rows break the rule; ``considered``: how many it is about (missing values are not)."""

    broken: Mask
    considered: int
    columns: tuple[str, ...]


class Table:
    """A frame, and what several rules need of its columns."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self._missing: dict[str, Mask] = {}

    def missing(self, column: str) -> Mask:
        """Where the column has no value. ``KeyError`` if there is no such column."""
        if column not in self._missing:
            self._missing[column] = self.frame[column].isna().to_numpy(dtype=bool)
        return self._missing[column]


def breaks(table: Table, kind: str, arguments: Mapping[str, Any]) -> Breaks | None:
    """The rows that break the rule; None where only Great Expectations can tell.

    Raises what pandas raises: the caller then asks Great Expectations, whose error is the one to be shown.
    """
    rule = ROW_RULES.get(kind)
    if rule is None or table.frame.columns.has_duplicates or arguments.get("row_condition"):
        return None
    return rule(table, arguments)


def _not_null(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    column = arguments["column"]
    return Breaks(table.missing(column), len(table.frame), (column,))


def _unique(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    return _of_values(table, arguments, lambda values: ~values.duplicated(keep=False).to_numpy())


def _in_set(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    values = arguments["value_set"]
    return None if values is None else _of_values(table, arguments, lambda v: v.isin(values).to_numpy())


def _not_in_set(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    values = arguments["value_set"]
    return None if values is None else _of_values(table, arguments, lambda v: ~v.isin(values).to_numpy())


def _matches(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    return _of_values(table, arguments, lambda values: _contains(values, arguments["regex"]))


def _matches_not(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    return _of_values(table, arguments, lambda values: ~_contains(values, arguments["regex"]))


def _contains(values: pd.Series, regex: str) -> Mask:
    import pandas as pd

    if pd.api.types.infer_dtype(values, skipna=True) != "string":
        # Numbers and flags that are equal may be written differently: each value is looked at.
        return np.asarray(values.astype(str).str.contains(regex), dtype=bool)
    codes, distinct = pd.factorize(values)
    # A missing value has the code -1, and is left out by the caller.
    found = np.asarray(pd.Series(distinct, dtype=object).astype(str).str.contains(regex), dtype=bool)
    return np.append(found, False)[codes]


def _between(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    column = table.frame[arguments["column"]]
    plain = all(bound is None or type(bound) in (int, float) for bound in (low, high))
    # Only in the widest types is a comparison with Python's numbers the same thing everywhere.
    if column.dtype not in (np.dtype("int64"), np.dtype("float64")) or not plain or (low is None and high is None):
        return None
    if low is not None and high is not None and low > high:
        return None

    def within(values: pd.Series) -> Mask:
        numbers, holds = values.to_numpy(), np.ones(len(values), dtype=bool)
        if low is not None:
            holds &= numbers > low if arguments.get("strict_min") else numbers >= low
        if high is not None:
            holds &= numbers < high if arguments.get("strict_max") else numbers <= high
        return holds

    return _of_values(table, arguments, within)


def _of_values(table: Table, arguments: Mapping[str, Any], holds: Callable[[pd.Series], Mask]) -> Breaks:
    """Missing values neither keep nor break such a rule."""
    column = arguments["column"]
    present = ~table.missing(column)
    return Breaks(present & ~holds(table.frame[column]), int(present.sum()), (column,))


def _greater(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    if arguments.get("or_equal"):
        return _of_pair(table, arguments, lambda a, b: a >= b)
    return _of_pair(table, arguments, lambda a, b: a > b)


def _equal(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    return _of_pair(table, arguments, lambda a, b: a == b)


_PAIR_MISSING = {"both_values_are_missing": np.logical_and, "either_value_is_missing": np.logical_or}


def _of_pair(
    table: Table, arguments: Mapping[str, Any], holds: Callable[[pd.Series, pd.Series], pd.Series]
) -> Breaks | None:
    a, b = arguments["column_A"], arguments["column_B"]
    ignored_if = arguments.get("ignore_row_if", "both_values_are_missing")
    if ignored_if not in _PAIR_MISSING or any(_is_extension(table.frame[c]) for c in (a, b)):
        return None
    ignored = _PAIR_MISSING[ignored_if](table.missing(a), table.missing(b))
    broken = ~holds(table.frame[a], table.frame[b]).to_numpy(dtype=bool) & ~ignored
    return Breaks(broken, int((~ignored).sum()), (a, b))


def _compound(table: Table, arguments: Mapping[str, Any]) -> Breaks | None:
    columns = tuple(arguments["column_list"])
    missing = [table.missing(column) for column in columns]
    match arguments.get("ignore_row_if", "all_values_are_missing"):
        case "all_values_are_missing":
            ignored = np.logical_and.reduce(missing)
        case "any_value_is_missing":
            ignored = np.logical_or.reduce(missing)
        case _:
            return None
    rows = table.frame.loc[~ignored, list(columns)]
    broken = np.zeros(len(table.frame), dtype=bool)
    broken[~ignored] = rows.duplicated(keep=False).to_numpy()
    return Breaks(broken, len(rows), columns)


def _is_extension(column: pd.Series) -> bool:
    """Types whose comparisons may answer "unknown"; moments with a time zone never do."""
    import pandas as pd

    return not isinstance(column.dtype, np.dtype | pd.DatetimeTZDtype)


ROW_RULES: dict[str, Callable[[Table, Mapping[str, Any]], Breaks | None]] = {
    "ExpectColumnValuesToNotBeNull": _not_null,
    "ExpectColumnValuesToBeUnique": _unique,
    "ExpectColumnValuesToBeInSet": _in_set,
    "ExpectColumnValuesToNotBeInSet": _not_in_set,
    "ExpectColumnValuesToMatchRegex": _matches,
    "ExpectColumnValuesToNotMatchRegex": _matches_not,
    "ExpectColumnValuesToBeBetween": _between,
    "ExpectColumnPairValuesAToBeGreaterThanB": _greater,
    "ExpectColumnPairValuesToBeEqual": _equal,
    "ExpectCompoundColumnsToBeUnique": _compound,
}
"""The rules that name the rows which break them."""
