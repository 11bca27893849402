"""A part of the replay taken again: which rows of the kept result stay, and that the tables show what is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    import bench_replay  # type: ignore[import-not-found]
    import replay_table  # type: ignore[import-not-found]

    yield SimpleNamespace(joined=bench_replay.joined, tables=replay_table.tables)
    sys.path.remove(str(BENCHMARKS))


def mean(policy: str, loss: float, **more: float) -> dict[str, Any]:
    numbers = {"refits": 3.4, "most_refits": 4, "recalibrations": 27.0, "probes": 26.6, "seeds": 5}
    excess = {"excess_over_weekly": loss - 0.4, "excess_low": loss - 0.41, "excess_high": loss - 0.39}
    return {"policy": policy, "family": "network", "logloss": loss, **numbers, **excess, **more}


def result(*means: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rows": list(means), "means": list(means), "untouched": {"rows": list(means), "means": list(means)}, **more}


KEPT = result(mean("weekly", 0.4), mean("static", 0.5), mean("governor", 0.45), mean("gone", 0.42))
GUARDED = {"turned_down": 0.25, "backs": 0.5}
POLICIES = ["static", "weekly", "governor"]


def test_what_was_taken_replaces_and_what_is_still_known_stays(bench: Any) -> None:
    taken = result(mean("weekly", 0.4), mean("governor", 0.41, **GUARDED), policies=POLICIES)
    found = bench.joined(KEPT, taken)
    for part in (found["rows"], found["means"], found["untouched"]["means"]):
        assert {m["policy"]: m["logloss"] for m in part} == {"static": 0.5, "weekly": 0.4, "governor": 0.41}
    table = bench.tables({**found, "rows": found["rows"], "means": [m | GUARDED for m in found["means"]]})
    assert "**network**, mean of 5 seeds" in table
    assert "| **governor** | 3.4 (4) | 0.2 | 0.5 | 27 | 27 | +10.0 [+0.0, +20.0] | +10.0 [+0.0, +20.0] |" in table


def test_rows_of_other_fits_are_not_mixed(bench: Any) -> None:
    with pytest.raises(SystemExit, match="of other fits"):
        bench.joined(KEPT, result(mean("weekly", 0.39), policies=POLICIES))
