"""Test executions of a CI system: the published history of ABB Robotics, a file of your own, or seeded rows.

``TEST_PRIORITY_DATA`` names a CSV or Parquet file of your own; else the file that `modelyard data fetch test_priority`
put beside this one is read; else rows are generated, and a warning says so. A file has the published columns (``Id,
Name, Duration, LastRun, Verdict, Cycle``) or the plain ones (``execution_id, test_id, duration_ms, run_at, failed,
cycle``).

``LastRun`` is, against its name, when *this* execution ran. Times are local without a zone; they are taken for UTC,
since only differences matter. A test repeated within a cycle is repeated because of what came out, so nothing of a
cycle is a feature for that cycle: a prediction is asked for at the cycle's first execution.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from functools import lru_cache
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from modelyard.core.errors import ConfigError, IntegrityError
from modelyard.core.window import Window

SETTING = "TEST_PRIORITY_DATA"
URL = "https://raw.githubusercontent.com/jlousada315/RETECS/2b8a974690a8e4dee9137c9988763ea0553630b3/DATA/iofrol.csv"
SHA256 = "70e18e1525445f2b1193a9e2ec793365c13e61e7e44a67ce54d8fa03ea3d7022"
FETCHED = Path(__file__).parent / "data" / "iofrol.csv"

PUBLISHED = {
    "Id": "execution_id",
    "Name": "test_id",
    "Duration": "duration_ms",
    "LastRun": "run_at",
    "Verdict": "failed",
    "Cycle": "cycle",
}


def fetch(client: httpx.Client | None = None) -> Path:
    """Get the published history once; the file is written only if its bytes are the known ones.

    Raises:
        IntegrityError: the address answers with something else.
    """
    if FETCHED.is_file() and hashlib.sha256(FETCHED.read_bytes()).hexdigest() == SHA256:
        return FETCHED
    with client or httpx.Client(timeout=60, follow_redirects=True) as asked:
        content = asked.get(URL).raise_for_status().content
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise IntegrityError(f"{URL} has sha256 {found}, expected {SHA256}; nothing was written")
    FETCHED.parent.mkdir(exist_ok=True)
    partial = FETCHED.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(FETCHED)
    return FETCHED


def read(window: Window) -> pd.DataFrame:
    """Executions whose cycle began (``event_time``) in the window, with what became of them.

    ``known_at`` is the end of the execution.
    """
    rows = _rows(str(path() or ""))
    return rows[rows["event_time"].ge(window.start) & rows["event_time"].lt(window.end)].reset_index(drop=True)


def path() -> Path | None:
    """The file that is read; None: rows are generated.

    Raises:
        ConfigError: the file that the setting names does not exist.
    """
    own = os.environ.get(SETTING, "")
    if own and not Path(own).is_file():
        raise ConfigError(SETTING, own, "an existing CSV or Parquet file", where="environment")
    return Path(own) if own else FETCHED if FETCHED.is_file() else None


def executions(file: Path | None) -> pd.DataFrame:
    """The plain columns of a file, or generated rows where there is none; ``run_at`` in UTC.

    Raises:
        ConfigError: a column is missing.
    """
    if file is None:
        hint = f"`modelyard data fetch test_priority` gets the published history; {SETTING} names a file of your own"
        warnings.warn(f"no test history: these are generated rows. {hint}", stacklevel=2)
        return generated()
    table = (pd.read_parquet(file) if file.suffix == ".parquet" else _csv(file)).rename(columns=PUBLISHED)
    if missing := [name for name in PUBLISHED.values() if name not in table]:
        raise ConfigError("column", ", ".join(missing), [str(c) for c in table.columns], where=str(file))
    at = pd.to_datetime(table["run_at"], format="ISO8601")
    at = at.dt.tz_localize("UTC") if at.dt.tz is None else at.dt.tz_convert("UTC")
    return table[list(PUBLISHED.values())].assign(run_at=at.astype("datetime64[us, UTC]"))


def generated(seed: int = 0, cycle_count: int = 120, tests: int = 200) -> pd.DataFrame:
    """Rows that look like a CI history: tests of unlike reliability, failures that last until somebody mends them."""
    rng = np.random.default_rng(seed)
    breaks, mends = rng.beta(0.4, 6, tests), rng.uniform(0.1, 0.6, tests)
    broken, took = rng.random(tests) < 0.2, rng.lognormal(10.5, 0.8, tests)
    start, rows = pd.Timestamp("2024-01-01T18:00", tz="UTC"), []
    for cycle in range(1, cycle_count + 1):
        chosen = np.flatnonzero(rng.random(tests) < rng.choice([0.1, 0.3, 0.8]))
        chosen = chosen if len(chosen) else np.array([0])
        broken = np.where(broken, rng.random(tests) > mends, rng.random(tests) < breaks)
        begun = start + pd.Timedelta(days=cycle)
        for test in rng.permutation(chosen):
            ms = int(took[test] * rng.uniform(0.8, 1.2))
            rows.append((len(rows) + 1, 1000 + int(test), ms, begun, int(broken[test]), cycle))
            begun += pd.Timedelta(milliseconds=ms // 8)
    table = pd.DataFrame(rows, columns=list(PUBLISHED.values()))
    return table.assign(run_at=table["run_at"].astype("datetime64[us, UTC]"))


def _csv(file: Path) -> pd.DataFrame:
    # The published file is separated by semicolons and has commas within a field.
    with file.open(encoding="utf-8") as lines:
        separator = ";" if ";" in lines.readline() else ","
    return pd.read_csv(file, sep=separator)


@lru_cache(maxsize=2)
def _rows(file: str) -> pd.DataFrame:
    table = executions(Path(file) if file else None)
    began = table.groupby("cycle")["run_at"].transform("min")
    ended = table["run_at"] + pd.to_timedelta(table["duration_ms"].clip(lower=1), unit="ms")
    rows = pd.DataFrame(
        {
            "key": "execution-" + table["execution_id"].astype(str),
            "event_time": began,
            "known_at": ended.astype("datetime64[us, UTC]"),
            "test": table["test_id"].astype(str),
            "cycle": table["cycle"].astype("int64"),
            "cycle_tests": table.groupby("cycle")["test_id"].transform("nunique").astype("float64"),
            "duration_ms": table["duration_ms"].astype("float64"),
            "failed": table["failed"].astype("float64"),
        }
    )
    return rows.sort_values(["event_time", "key"], ignore_index=True)
