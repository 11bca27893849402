"""Drift checks beside Evidently's preset, bare sums, and a greater reference: time and peak memory.

Every case runs in a process of its own, which measures itself: wall and processor time from the file to the scores,
and the greatest resident memory of the process, libraries included; importing them is no part of the time. Cases that
are compared take turns, ``--repeats`` times, and the best of each counts: on a shared machine the rest is the others'.
Rows are drawn by DuckDB from a seed, into a temporary folder that goes with the run: 100 million rows take about 2 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _report import RESULTS, Facts, Row, write_part

from modelyard.adapters.duckdb_profiler import DuckDbProfiler
from modelyard.adapters.parquet_profiler import ParquetProfiler
from modelyard.core.profile import Profile
from modelyard.drift.edges import fit_profile
from modelyard.drift.score import score
from modelyard.ports.profiler import Rows

THREADS = 2
MEMORY = "300MB"
NUMERIC = [f"n{i:02}" for i in range(15)]
CATEGORICAL = [f"c{i:02}" for i in range(5)]
TALL = ["normal", "zeros", "rounded", "skewed"]
Found = dict[str, float]

_NORMAL = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"
_TALL = f"""{_NORMAL} AS normal, CASE WHEN random() < 0.9 THEN 0 ELSE -ln(1 - random()) END AS zeros,
    round(10 + 5 * {_NORMAL}, 1) AS rounded, -1000 * ln(1 - random()) AS skewed"""


def wide(shift: float) -> str:
    """15 numeric columns, a third of them zero-inflated, with 1% nulls, and 5 categorical ones."""
    normal = [f"CASE WHEN random() < 0.01 THEN NULL ELSE {shift} + {_NORMAL} END AS {name}" for name in NUMERIC[:10]]
    zeros = [f"CASE WHEN random() < 0.8 THEN 0 ELSE -ln(1 - random()) END AS {name}" for name in NUMERIC[10:]]
    categories = [f"'k' || floor(pow(random(), 3) * {20 * 2**i})::INT AS {n}" for i, n in enumerate(CATEGORICAL)]
    return ", ".join((*normal, *zeros, *categories))


def generate(path: Path, columns: str, rows: int, seed: float) -> Path:
    """Write a Parquet file as DuckDB writes it by default. One thread: only then does the seed settle the rows."""
    import duckdb

    with duckdb.connect(config={"threads": 1, "memory_limit": "2GB"}) as db:
        db.execute(f"SELECT setseed({seed})")
        db.execute(f"COPY (SELECT {columns} FROM range({rows})) TO '{path}' (FORMAT parquet)")  # noqa: S608
    return path


def case_fit(file: str, profile: str, kind: str) -> Callable[[], None]:
    """Fit a reference profile; not a case of its own."""
    import duckdb

    def run() -> None:
        frame = duckdb.connect().execute(f"SELECT * FROM '{file}'").df()  # noqa: S608
        numeric, categorical = (NUMERIC, CATEGORICAL) if kind == "wide" else (TALL, [])
        Path(profile).write_text(fit_profile(frame, numeric=numeric, categorical=categorical).to_json())

    return run


def case_check(file: str, profile: str, engine: str) -> Callable[[], None]:
    """Read the reference's profile, count the rows, score every feature."""
    profiler = (
        ParquetProfiler(threads=THREADS) if engine == "parquet" else DuckDbProfiler(threads=THREADS, memory=MEMORY)
    )
    _warm(engine)

    def run() -> None:
        reference = Profile.from_json(Path(profile).read_text())
        scores = score(reference, profiler.count(reference, Rows(files=(file,))).profile)
        assert all(m.value is not None for m in scores)

    return run


def _warm(engine: str) -> None:
    """Import what the engine uses."""
    import pyarrow.parquet  # noqa: F401

    if engine != "parquet":
        import duckdb  # noqa: F401


def case_sum(file: str, columns: str) -> Callable[[], None]:
    """The bare sum of the columns, by DuckDB, with as many threads."""
    import duckdb

    def run() -> None:
        with duckdb.connect(config={"threads": THREADS, "memory_limit": MEMORY}) as db:
            asked = ", ".join(f"sum({name})" for name in columns.split(","))
            db.execute(f"SELECT {asked} FROM read_parquet('{file}')").fetchall()  # noqa: S608

    return run


def case_evidently(file: str, reference: str) -> Callable[[], None]:
    """Evidently's data drift preset, with its own choice of a method, on the same rows."""
    import os

    os.environ["DO_NOT_TRACK"] = "true"
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=NUMERIC, categorical_columns=CATEGORICAL)

    def run() -> None:
        now, before = (Dataset.from_pandas(pd.read_parquet(f), data_definition=definition) for f in (file, reference))
        assert Report([DataDriftPreset()]).run(now, before).dict()["metrics"]

    return run


CASES: dict[str, Callable[..., Callable[[], None]]] = {
    "fit": case_fit, "check": case_check, "sum": case_sum, "evidently": case_evidently,
}  # fmt: skip


def child(name: str, given: list[str]) -> None:
    """Run one case here and print what it took."""
    run = CASES[name](*given)
    wall, used = time.perf_counter(), time.process_time()
    run()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    print(json.dumps({"s": wall, "cpu_s": used, "mb": peak / (1024 if sys.platform != "darwin" else 2**20)}))


def measure(*cases: tuple[str, ...], repeats: int) -> list[Found]:
    """The best of each case; the cases take turns."""
    best: list[Found] = [{} for _ in cases]
    for _ in range(repeats):
        for place, (name, *given) in enumerate(cases):
            command = [sys.executable, __file__, "--case", name, *given]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            best[place] = {key: min(value, best[place].get(key, value)) for key, value in found.items()}
    for (name, *given), found in zip(cases, best, strict=True):
        print(name, *given[2:], {key: round(value, 3) for key, value in found.items()}, file=sys.stderr, flush=True)
    return best


def beside_evidently(folder: Path, rows: int, repeats: int) -> list[Row]:
    """A million rows of 20 columns against as many."""
    now = generate(folder / "now.parquet", wide(0.1), rows, 0.1)
    before = generate(folder / "before.parquet", wide(0.0), rows, 0.2)
    profile = folder / "wide.json"
    measure(("fit", str(before), str(profile), "wide"), repeats=1)
    (peer,) = measure(("evidently", str(now), str(before)), repeats=1)
    engines = ("parquet", "duckdb")
    checks = measure(*(("check", str(now), str(profile), engine) for engine in engines), repeats=repeats)
    found = []
    for engine, ours in zip(engines, checks, strict=True):
        what, who = f"{rows:,} rows x 20, {engine}", "Evidently's preset"
        found += [
            Row(f"{what}: seconds", ours["s"], "s", who, peer["s"], "lower", 40),
            Row(f"{what}: processor seconds", ours["cpu_s"], "s", who, peer["cpu_s"], "lower", 40),
            Row(f"{what}: peak memory", ours["mb"], "MB", who, peer["mb"], "lower", 5),
        ]
    return found


def an_hour(folder: Path, repeats: int) -> list[Row]:
    """One hour's rows, checked against a reference of 10,000 rows and against one of 100 times as many."""
    hour = generate(folder / "hour.parquet", wide(0.1), 10_000, 0.5)
    profiles = []
    for rows in (10_000, 1_000_000):
        reference = generate(folder / "reference.parquet", wide(0.0), rows, 0.6)
        profiles.append(folder / f"reference{rows}.json")
        measure(("fit", str(reference), str(profiles[-1]), "wide"), repeats=1)
    small, great = measure(*(("check", str(hour), str(p), "parquet") for p in profiles), repeats=max(5, repeats))
    what, who = "an hour of 10,000 rows x 20, reference of 1,000,000", "reference of 10,000"
    return [
        Row(f"{what}: processor seconds", great["cpu_s"], "s", who, small["cpu_s"], "lower", 0.9),
        Row(f"{what}: peak memory", great["mb"], "MB", who, small["mb"], "lower", 0.9),
    ]


def beside_sums(folder: Path, sizes: list[int], repeats: int) -> list[Row]:
    """Rows of 4 columns against a bare sum of them, against the limit of memory, and great against small."""
    head, profile = generate(folder / "head.parquet", _TALL, 200_000, 0.4), folder / "tall.json"
    measure(("fit", str(head), str(profile), "tall"), repeats=1)
    found, taken = [], []
    for rows in sizes:
        file = generate(folder / "tall.parquet", _TALL, rows, 0.3)
        checks = [("check", str(file), str(profile), engine) for engine in ("parquet", "duckdb")]
        *ours, bare = measure(*checks, ("sum", str(file), ",".join(TALL)), repeats=repeats)
        for (*_, engine), mine in zip(checks, ours, strict=True):
            what, per_s = f"{rows:,} rows x 4, {engine}", "rows per second"
            found += [
                Row(f"{what}: {per_s}", rows / mine["s"], "1/s", "bare sum", rows / bare["s"], "higher", 0.5),
                Row(f"{what}: processor seconds", mine["cpu_s"], "s", "bare sum", bare["cpu_s"], "lower", 0.5),
                Row(f"{what}: peak memory", mine["mb"], "MB", "limit", 500, "lower", 1),
            ]
        taken.append(1e9 * ours[0]["cpu_s"] / rows)
    if len(sizes) > 1:
        what = f"{sizes[-1]:,} rows x 4, parquet: processor time per row"
        found.append(Row(what, taken[-1], "ns", f"{sizes[0]:,} rows", taken[0], "lower", 0.8))
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="evidently,hour,sums", help="which parts, separated by commas")
    parser.add_argument("--rows", default="10_000_000,100_000_000", help="sizes of the part sums, from small to great")
    parser.add_argument("--wide-rows", type=int, default=1_000_000, help="rows of the part evidently")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "drift.json")
    parser.add_argument("--case", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        child(given.case[0], given.case[1:])
        return
    sizes, repeats = [int(size) for size in given.rows.split(",")], given.repeats
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "evidently": lambda folder: beside_evidently(folder, given.wide_rows, repeats),
        "hour": lambda folder: an_hour(folder, repeats),
        "sums": lambda folder: beside_sums(folder, sizes, repeats),
    }
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory(prefix="bench-drift-") as folder:
            facts = Facts()
            rows = parts[part](Path(folder))
            write_part(given.out, part, rows, facts, threads=THREADS, repeats=repeats)


if __name__ == "__main__":
    main()
