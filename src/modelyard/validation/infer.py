"""Proposes a data contract from a snapshot, for a person to review; each rule says what it was made from.

Bounds are wider than what was seen, so that the next weeks' rows pass unless they changed: a range by half of its own
width on either side (kept at or above zero where nothing negative was seen, and where the model's own bounds are
declared, these); a mean by four standard deviations of the daily means, a share of missing values by twice what was
seen and two points; rows per day from a third of the quietest day's to thrice the busiest day's; freshness by twice
what was seen and a day.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.config.project import Project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.records import Snapshot

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 50
SHARE_OF_A_CATEGORY = 0.0005
MIN_ROWS = 100


@dataclass(frozen=True)
class Proposal:
    """One rule as it would stand in the file, and what it was made from."""

    rule: dict[str, Any]
    basis: str


def propose(project: Project, snapshot: Snapshot, frame: pd.DataFrame) -> list[Proposal]:
    """The rules that the snapshot suggests, in the order of a contract's usual sections.

    Raises:
        EvidenceMissing: fewer than 100 rows are no basis.
    """
    if len(frame) < MIN_ROWS:
        raise EvidenceMissing(f"{len(frame)} rows are no basis for a contract; take a snapshot of at least {MIN_ROWS}")
    source = project.spec.source
    made = [_columns(frame), *_types(frame), _volume(snapshot, frame, source.event_time)]
    made.append(_fresh(snapshot, frame, source.known_at))
    made += [
        _critical("ExpectColumnValuesToBeUnique", "the model's key", column=source.key),
        _critical(
            "ExpectColumnPairValuesAToBeGreaterThanB",
            "known_at and event_time of the model: nothing is known before it happens",
            column_A=source.known_at,
            column_B=source.event_time,
            or_equal=True,
        ),
    ]
    made += [p for name in frame.columns if (p := _missing(frame[name], str(name))) is not None]
    for name in frame.columns:
        if name not in (source.key, source.event_time, source.known_at):
            made += _values(frame, str(name), project)
    return made


def written(proposals: list[Proposal], snapshot: Snapshot) -> str:
    """The file, with the basis above each rule."""
    head = [
        f"# Proposed from snapshot {snapshot.content}",
        f"# ({snapshot.rows} rows of {snapshot.window}). Review each line: what was seen is not what must be.",
        "expectations:",
    ]
    lines = [f"  # {p.basis}\n  - {_flow(p.rule)}" for p in proposals]
    return "\n".join([*head, *lines]) + "\n"


def _flow(rule: dict[str, Any]) -> str:
    # JSON is YAML, and quotes what YAML would read as something else (NO, 1e3, 007).
    return "{" + ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rule.items()) + "}"


def _critical(kind: str, basis: str, **arguments: Any) -> Proposal:
    return Proposal({"type": kind, "severity": "critical", **arguments}, basis)


def _warning(kind: str, basis: str, **arguments: Any) -> Proposal:
    return Proposal({"type": kind, "severity": "warning", **arguments}, basis)


def _columns(frame: pd.DataFrame) -> Proposal:
    names = sorted(map(str, frame.columns))
    return _critical(
        "ExpectTableColumnsToMatchSet",
        "the snapshot's columns, no more and no fewer",
        column_set=names,
        exact_match=True,
    )


def _types(frame: pd.DataFrame) -> list[Proposal]:
    return [
        _critical("ExpectColumnValuesToBeOfType", f"{name} is {dtype} in the snapshot", column=name, type_=str(dtype))
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, np.dtype) and dtype.kind in "fib"
    ]


def _volume(snapshot: Snapshot, frame: pd.DataFrame, event_time: str) -> Proposal:
    days = frame[event_time].dt.floor("D").value_counts()
    whole = days[(days.index >= snapshot.window.start) & (days.index < snapshot.window.end)]
    counts = whole if len(whole) else days
    low, high = int(counts.min()), int(counts.max())
    return _critical(
        "RowsPerDay",
        f"{low} to {high} rows a day on {len(counts)} days; a third of the least to thrice the most",
        min_value=low // 3,
        max_value=high * 3,
    )


def _fresh(snapshot: Snapshot, frame: pd.DataFrame, known_at: str) -> Proposal:
    age = (snapshot.as_of - frame[known_at].max().to_pydatetime()).total_seconds() / 3600
    basis = f"the newest outcome was {age:.1f} hours old; twice that and a day are accepted"
    return _warning("FreshRows", basis, column=known_at, max_age_hours=math.ceil(2 * age + 24))


def _missing(column: pd.Series, name: str) -> Proposal | None:
    share = float(column.isna().mean())
    if share == 0:
        return _critical("ExpectColumnValuesToNotBeNull", "no value is missing in the snapshot", column=name)
    if share == 1:
        return None
    accepted = min(1.0, 2 * share + 0.02)
    basis = f"{share:.2%} are missing; twice that and two points are accepted"
    return _warning("ExpectColumnValuesToNotBeNull", basis, column=name, mostly=round(1 - accepted, 4))


def _values(frame: pd.DataFrame, name: str, project: Project) -> list[Proposal]:
    import pandas as pd

    column = frame[name].dropna()
    if column.empty:
        return []
    if name == project.spec.label.column:
        seen = sorted(column.unique().tolist())
        label = _critical("ExpectColumnValuesToBeInSet", "the label's values", column=name, value_set=seen)
        return [label, *_mean(frame, name, project.spec.source.event_time)]
    if pd.api.types.is_bool_dtype(column):
        return []
    if pd.api.types.is_numeric_dtype(column):
        return [_range(column, name, project)]
    if pd.api.types.is_object_dtype(column):
        return _categories(column, name)
    return []


def _mean(frame: pd.DataFrame, name: str, event_time: str) -> list[Proposal]:
    daily = frame.groupby(frame[event_time].dt.floor("D"))[name].mean()
    if len(daily) < 7:
        return []
    middle, spread = float(frame[name].mean()), 4 * float(daily.std())
    low, high = max(0.0, middle - spread), min(1.0, middle + spread)
    basis = f"mean {middle:.3f}; four standard deviations of {len(daily)} daily means are accepted"
    return [
        _warning("ExpectColumnMeanToBeBetween", basis, column=name, min_value=round(low, 4), max_value=round(high, 4))
    ]


def _range(column: pd.Series, name: str, project: Project) -> Proposal:
    declared = project.spec.features.get(name)
    if declared is not None and declared.min is not None and declared.max is not None:
        bounds = {"min_value": declared.min, "max_value": declared.max}
        return _critical("ExpectColumnValuesToBeBetween", "its min and max in model.yaml", column=name, **bounds)
    finite = column[np.isfinite(column.to_numpy(dtype=float))]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    margin = (high - low) / 2 or abs(high) / 2 or 1.0
    least, most = math.floor(low - margin), math.ceil(high + margin)
    basis = f"{low:g} to {high:g} in the snapshot, and half of that width on either side"
    bounds = {"min_value": max(0, least) if low >= 0 else least, "max_value": most}
    return _warning("ExpectColumnValuesToBeBetween", basis, column=name, **bounds)


def _categories(column: pd.Series, name: str) -> list[Proposal]:
    counts = column.value_counts()
    if len(counts) > MOST_CATEGORIES or len(counts) > len(column) / 10:
        return []
    rare = int((counts < max(5, SHARE_OF_A_CATEGORY * len(column))).sum())
    # Where some categories are rare, others are that were not seen yet.
    mostly = 1.0 if not rare else 0.98
    basis = f"{len(counts)} values, {rare} of them rare; {1 - mostly:.0%} of others are accepted"
    more = {} if mostly == 1.0 else {"mostly": mostly}
    values = sorted(map(str, counts.index))
    return [_warning("ExpectColumnValuesToBeInSet", basis, column=name, value_set=values, **more)]
