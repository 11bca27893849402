"""Validating a million rows by fifteen expectations: our counting beside Great Expectations alone, same documents.

Both ways take the same rules, make the same kind of suite, result and Data Docs, and must come to the same verdicts,
or there is no figure. They are timed in turn in one process (wall time, imports before the clock, the better of the
repetitions), on clean rows and on rows of which some are broken.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from _report import Row, write

from modelyard.adapters.ge_validator import GreatExpectationsValidator, load
from modelyard.core.records import Snapshot
from modelyard.core.window import Window
from modelyard.ports.datasets import Rule, ValidationReport
from modelyard.validation.contract import read_contract

ROWS, REPETITIONS, SEED = 1_000_000, 3, 1
AS_OF = datetime(2020, 2, 1, tzinfo=UTC)
CONTRACT = """
expectations:
  - {type: ExpectTableColumnsToMatchSet, severity: critical, exact_match: true,
     column_set: [key, event_time, known_at, carrier, origin, dest, minute, distance, delay, late]}
  - {type: ExpectTableRowCountToBeBetween, severity: critical, min_value: 1000, max_value: 2000000}
  - {type: ExpectColumnValuesToBeUnique, severity: critical, column: key}
  - {type: ExpectColumnValuesToNotBeNull, severity: critical, column: key}
  - {type: ExpectColumnValuesToNotBeNull, severity: critical, column: event_time}
  - {type: ExpectColumnValuesToBeOfType, severity: critical, column: distance, type_: float64}
  - {type: ExpectColumnValuesToBeInSet, severity: critical, column: origin, value_set: [EWR, JFK, LGA]}
  - {type: ExpectColumnValuesToBeInSet, severity: critical, column: late, value_set: [0.0, 1.0]}
  - {type: ExpectColumnValuesToMatchRegex, severity: critical, column: dest, regex: "^[A-Z]{3}$"}
  - {type: ExpectColumnValuesToMatchRegex, severity: critical, column: carrier, regex: "^[A-Z0-9]{2}$"}
  - {type: ExpectColumnValuesToBeBetween, severity: critical, column: minute, min_value: 0, max_value: 1439}
  - {type: ExpectColumnValuesToBeBetween, severity: critical, column: distance, min_value: 1, max_value: 6000}
  - {type: ExpectColumnValuesToBeBetween, severity: warning, column: delay, min_value: -120, max_value: 1500}
  - {type: ExpectColumnMeanToBeBetween, severity: warning, column: late, min_value: 0.05, max_value: 0.6}
  - {type: ExpectColumnPairValuesAToBeGreaterThanB, severity: critical, column_A: known_at, column_B: event_time}
"""


def rows(*, broken: bool) -> pd.DataFrame:
    """Flights that might have been; ``broken``: one row in a thousand breaks a rule of each kind."""
    rng = np.random.default_rng(SEED)
    asked = pd.to_datetime("2020-01-01", utc=True) + pd.to_timedelta(rng.integers(0, 30 * 86400, ROWS), unit="s")
    frame = pd.DataFrame(
        {
            "key": [f"f{i:07d}" for i in range(ROWS)],
            "event_time": asked.astype("datetime64[us, UTC]"),
            "known_at": (asked + pd.Timedelta(hours=3)).astype("datetime64[us, UTC]"),
            "carrier": rng.choice(["AA", "B6", "UA", "9E"], ROWS),
            "origin": rng.choice(["EWR", "JFK", "LGA"], ROWS),
            "dest": rng.choice(["LAX", "ORD", "SFO", "BQN", "SJU"], ROWS),
            "minute": rng.integers(0, 1440, ROWS).astype(float),
            "distance": rng.uniform(1, 6000, ROWS),
            "delay": np.where(rng.random(ROWS) < 0.03, np.nan, rng.normal(0, 30, ROWS)),
            "late": rng.integers(0, 2, ROWS).astype(float),
        }
    )
    if broken:
        bad = rng.random(ROWS) < 0.001
        frame.loc[bad, ["key", "origin", "dest", "minute", "distance"]] = [None, "XXX", "lax", -1.0, np.inf]
        frame.loc[bad, "known_at"] = frame.loc[bad, "event_time"]
    return frame


def main() -> None:
    load()
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "expectations.yaml"
        contract.write_text(CONTRACT)
        rules = read_contract(contract).rules
        found, seconds = [], {}
        for name in ("clean", "broken"):
            frame = rows(broken=name == "broken")
            times: dict[bool, float] = {}
            for _ in range(REPETITIONS):
                reports = {}
                for alone in (False, True):
                    spent, reports[alone] = timed(Path(folder), frame, rules, alone=alone)
                    times[alone] = min(times.get(alone, float("inf")), spent)
                require_same(reports[False], reports[True])
            seconds[name] = {"ours": times[False], "great_expectations": times[True]}
            rates = [ROWS / times[alone] for alone in (False, True)]
            found.append(
                Row(f"rows validated, {name}", rates[0], "rows/s", "Great Expectations alone", rates[1], "higher")
            )
    write("validation", found, rows_validated=ROWS, expectations=len(rules), repetitions=REPETITIONS, seconds=seconds)


def timed(folder: Path, frame: pd.DataFrame, rules: tuple[Rule, ...], *, alone: bool) -> tuple[float, ValidationReport]:
    """Seconds from the frame in memory to the verdicts and the document."""
    snapshot = Snapshot(
        model="bench",
        window=Window(start=datetime(2020, 1, 1, tzinfo=UTC), end=AS_OF),
        as_of=AS_OF,
        rows=len(frame),
        columns=tuple(frame.columns),
        content="sha256:" + ("a" if alone else "b") * 64,
        dvc_md5="0" * 32,
        path="bench.parquet",
    )
    start = time.perf_counter()
    report = GreatExpectationsValidator(folder / "docs", alone=alone).validate(snapshot, frame, rules, AS_OF)
    spent = time.perf_counter() - start
    if not Path(report.document).is_file():
        raise SystemExit(f"no document was made: {report.document}")
    return spent, report


def require_same(ours: ValidationReport, theirs: ValidationReport) -> None:
    """The same outcome, the same number and the same words for each expectation."""
    for mine, peer in zip(ours.verdicts, theirs.verdicts, strict=True):
        a, b = (
            (v.check, v.outcome, v.severity, v.measurements[0].value, v.reason.partition("(for")[0])
            for v in (mine, peer)
        )
        if a != b:
            raise SystemExit(f"the verdicts differ: {a} and {b}")


if __name__ == "__main__":
    main()
