"""Orders of the tests of a CI cycle, one row per policy: NAPFD over all cycles in which something failed.

Each cycle is ordered from earlier cycles alone. Mean and spread (standard deviation) over seeds; a policy without
chance in it has no spread in the first figure, since ties are counted exactly. `--data` or the project's own setting
names the history; generated rows serve where there is none, and the result says so. Each policy is a part of the result
of its own: one may be taken again without the others.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _report import RESULTS, ROOT, Facts, Row, write_part

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings

CHOOSING = 107
"""The first third of the 320 cycles: what is unseen comes after it."""

SEEDED = ("online MLP", "online MLP + last 4", "DQN agent")
"""Policies with chance in them are made anew for each seed; of the others a seed only breaks ties."""

PLAIN = "failure rate"
TARGETS = {"ranker": 0.620, "DQN agent": 0.600}
HALF = {"ranker": 0.440, "ranker per time": 0.440}


def project() -> Project:
    """The model's folder, which is off by default."""
    places = f"{ROOT / 'projects'}:{ROOT / 'projects' / 'optional'}"
    return load_project("test_priority", Settings.from_env({"MODELYARD_ROOT": str(ROOT), "MODELYARD_PROJECTS": places}))


def history(data: Path | None) -> tuple[list[Any], str]:
    """All cycles, and what they are."""
    own = project()
    file = data or own.code("source:path")()
    table = own.code("source:executions")(file)
    return list(own.code("cycles:cycles")(table)), "generated rows" if file is None else file.name


def one(name: str, seeds: list[int], data: Path | None) -> dict[str, Any]:
    """Judge one policy, made with the first of the seeds; all of them break ties where time is limited."""
    from threadpoolctl import threadpool_limits

    past, own = history(data)[0], project()
    began = time.perf_counter()
    with threadpool_limits(1):
        policy = (
            own.code("policies:Oracle")(past) if name == "oracle" else own.code("policies:POLICIES")[name](seeds[0])
        )
        judged = own.code("policies:judge")(policy, past, ties=seeds)
    seconds = time.perf_counter() - began
    return {"cycles": judged.cycles, "whole": judged.whole, "limited": judged.limited, "seconds": seconds}


def summary(name: str, runs: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """A policy's row: means over cycles, then mean and spread over seeds."""
    unseen = runs[0]["cycles"] > CHOOSING
    whole = np.array([run["whole"] for run in runs])
    limited = np.vstack([run["limited"] for run in runs])
    figures = {"napfd": whole, "napfd_unseen": whole[:, unseen], "napfd_half_time": limited}
    row: dict[str, Any] = {"policy": name, "seeds": seeds, "cycles": whole.shape[1], "unseen": int(unseen.sum())}
    for figure, values in figures.items():
        means = values.mean(axis=1)
        row[figure], row[f"{figure}_spread"] = round(float(means.mean()), 4), round(float(means.std()), 4)
    return row | {"seconds": round(float(np.mean([run["seconds"] for run in runs])), 1)}


def against(row: dict[str, Any], plain: dict[str, Any]) -> list[Row]:
    """A policy beside the plain rate of failures, with its target as a ratio of it."""
    rows = []
    for figure, wanted in (("napfd", TARGETS.get(row["policy"])), ("napfd_half_time", HALF.get(row["policy"]))):
        ratio = None if wanted is None else round(wanted / plain[figure], 4)
        rows.append(Row(f"{row['policy']}, {figure}", row[figure], "NAPFD", PLAIN, plain[figure], "higher", ratio))
    return rows


def main() -> None:
    """Run it."""
    names = ["oracle", *project().code("policies:POLICIES")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="a CSV or Parquet file of executions")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--policies", nargs="+", choices=names, default=names, help=f"{PLAIN!r} always runs")
    given = parser.parse_args()
    seeds, (_, what), plain = list(range(given.seeds)), history(given.data), dict[str, Any]()
    for name in dict.fromkeys([PLAIN, *given.policies]):
        facts = Facts()
        groups = [[seed] for seed in seeds] if name in SEEDED else [seeds]
        with ProcessPoolExecutor(given.processes) as pool:
            runs = list(pool.map(partial(one, name, data=given.data), groups))
        row = summary(name, runs, given.seeds)
        plain = plain or row
        write_part(RESULTS / "priority.json", name, against(row, plain), facts, data=what, **row)


if __name__ == "__main__":
    main()
