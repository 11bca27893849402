"""Orders of the tests of a CI cycle, one row per policy: NAPFD over all cycles in which something failed.

Each cycle is ordered from earlier cycles alone. Mean and spread (standard deviation) over seeds; a policy without
chance in it has no spread in the first figure, since ties are counted exactly. `--data` or the project's own setting
names the history; generated rows serve where there is none, and the result says so.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _report import ROOT, Row, write

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings

CHOOSING = 107
"""The first third of the 320 cycles: what is unseen comes after it."""

TARGETS = {"ranker": 0.620, "DQN agent": 0.600}
HALF_TARGET = 0.440


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


def one(name: str, seed: int, data: Path | None) -> tuple[list[int], list[float], list[float], float]:
    """Judge one policy with one seed: cycles, NAPFD of each, the same within half the time, seconds."""
    from threadpoolctl import threadpool_limits

    past, _ = history(data)
    began = time.perf_counter()
    with threadpool_limits(1):
        if name == "oracle":
            judged = project().code("policies:oracle")(past, seed=seed)
        else:
            judged = project().code("policies:judge")(project().code("policies:POLICIES")[name](seed), past, seed=seed)
    seconds = time.perf_counter() - began
    return judged.cycles.tolist(), judged.whole.tolist(), judged.half.tolist(), seconds


def summary(name: str, runs: list[tuple[list[int], list[float], list[float], float]]) -> dict[str, Any]:
    """A policy's row: means over cycles, then mean and spread over seeds."""
    unseen = np.array(runs[0][0]) > CHOOSING
    whole, half = np.array([run[1] for run in runs]), np.array([run[2] for run in runs])
    figures = {"napfd": whole, "napfd_unseen": whole[:, unseen], "napfd_half_time": half}
    row: dict[str, Any] = {"policy": name, "seeds": len(runs), "cycles": whole.shape[1], "unseen": int(unseen.sum())}
    for figure, values in figures.items():
        means = values.mean(axis=1)
        row[figure], row[f"{figure}_spread"] = round(float(means.mean()), 4), round(float(means.std()), 4)
    return row | {"seconds": round(float(np.mean([run[3] for run in runs])), 1)}


def against(policies: list[dict[str, Any]]) -> list[Row]:
    """The learners beside the plain rate of failures, and beside their targets as ratios of it."""
    by = {row["policy"]: row for row in policies}
    plain, rows = by["failure rate"], []
    for name, target in TARGETS.items():
        if name not in by:
            continue
        for figure, wanted in (("napfd", target), ("napfd_half_time", HALF_TARGET)):
            ours, peer = by[name][figure], plain[figure]
            rows.append(
                Row(f"{name}, {figure}", ours, "NAPFD", "failure rate", peer, "higher", round(wanted / peer, 4))
            )
    return rows


def main() -> None:
    """Run it."""
    own = project()
    names = ["oracle", *own.code("policies:POLICIES")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="a CSV or Parquet file of executions")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--policies", nargs="+", choices=names, default=names, help="`failure rate` always runs")
    given = parser.parse_args()
    _, what = history(given.data)
    policies = []
    with ProcessPoolExecutor(given.processes) as pool:
        for name in dict.fromkeys(["failure rate", *given.policies]):
            runs = list(pool.map(partial(one, name, data=given.data), range(given.seeds)))
            policies.append(summary(name, runs))
            print(policies[-1], flush=True)
    write("priority", against(policies), data=what, policies=policies)


if __name__ == "__main__":
    main()
