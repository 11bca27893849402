"""The feature view of the tests: what their earlier executions had shown at each full hour.

A row stamped ``h`` counts the executions that had ended by ``h``. A prediction is asked for at the first execution of
its cycle, so no execution of that cycle has ended by then: a cycle tells nothing of itself, however long it runs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from modelyard.features.rolling import Rolling

WINDOWS = {"7d": 7, "30d": 30}
USUAL_PASS, MIXED = 0.7, 1.0
"""A window is mixed with so many usual executions, lest one failure be a rate of 100%."""


def build(rows: pd.DataFrame, after: datetime | None, until: datetime) -> dict[str, pd.DataFrame]:
    """All view rows with ``after < event_timestamp <= until``; ``after`` None: from the first execution on.

    ``rows`` are the landed executions known by ``until``, at least from ``lookback_days`` of model.yaml before
    ``after``; the counts of the past go back as far as they do, at most 30 days.
    """
    end = pd.Timestamp(until)
    seen = _ended(rows[rows["known_at"] <= end])
    start = pd.Timestamp(after) if after else seen["hour"].min() - pd.Timedelta(hours=1)
    grid = _changes(seen, start, end)
    return {"test_recent": _rates(seen, _counts(seen, grid))}


def _ended(rows: pd.DataFrame) -> pd.DataFrame:
    """Executions in the order in which they became known, with the full hour from which they count."""
    known = rows["known_at"].astype("datetime64[us, UTC]")
    seen = rows.assign(known_at=known, hour=known.dt.ceil("h"), passed=1 - rows["failed"])
    seen = seen.sort_values(["known_at", "key"], ignore_index=True)
    before = seen.groupby("test")["failed"].shift()
    repeated = seen.duplicated(["test", "cycle"])
    return seen.assign(changed=(before.notna() & (before != seen["failed"])).astype("float64"), repeated=repeated * 1.0)


def _changes(seen: pd.DataFrame, after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """A row in the hours in which an execution enters or leaves a window of its test."""
    moved = []
    for days in (0, *WINDOWS.values()):
        at = seen["hour"] + pd.Timedelta(days=days)
        now = (at > after) & (at <= until)
        moved.append(pd.DataFrame({"test": seen.loc[now, "test"], "event_timestamp": at[now]}))
    stamps = pd.concat(moved).drop_duplicates().sort_values(["event_timestamp", "test"], ignore_index=True)
    return stamps.astype({"event_timestamp": "datetime64[us, UTC]"})


def _counts(seen: pd.DataFrame, grid: pd.DataFrame) -> pd.DataFrame:
    """The last verdict and duration, by each test and hour."""
    last = seen.drop_duplicates(["test", "hour"], keep="last")
    last = last.assign(test_last_failed=last["failed"], test_last_duration_s=last["duration_ms"] / 1000)
    columns = ["test", "hour", "test_last_failed", "test_last_duration_s"]
    return pd.merge_asof(
        grid, last[columns], left_on="event_timestamp", right_on="hour", by="test", direction="backward"
    ).drop(columns="hour")


def _rates(seen: pd.DataFrame, grid: pd.DataFrame) -> pd.DataFrame:
    rolling = Rolling(seen["test"], seen["hour"], seen[["passed", "failed", "changed", "repeated"]])
    sums = {
        name: rolling.over(grid["test"], grid["event_timestamp"], timedelta(days=days))
        for name, days in WINDOWS.items()
    }
    passes = {
        f"test_pass_rate_{name}": (each["passed"] + MIXED * USUAL_PASS) / (each["count"] + MIXED)
        for name, each in sums.items()
    }
    month = sums["30d"]
    cycles = np.maximum(month["count"] - month["repeated"], 1)
    return grid.assign(
        **passes,
        test_failures_30d=month["failed"],
        test_flakiness_30d=month["changed"] / np.maximum(month["count"], 1),
        test_mean_retries_30d=month["repeated"] / cycles,
    )
