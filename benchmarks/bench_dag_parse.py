"""How long DAG files take to parse with 1 and 100 models, beyond Airflow's own import; the peer is the limit, 1 s.

Each measurement is a process of its own: Airflow and the operators that the files use are imported first, the clocks
run from there to the DAGs. "CPU" is the process's own time, which a busy machine stretches less than the wall clock's;
of each the median is given. "for a task" is what a worker pays: the parsing context then names one DAG.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _report import ROOT, Row, write

FILES = ("drift_monitor", "features", "retraining", "rollout", "way_back")
LOOPS = {"drift_monitor": "monitor", "retraining": "retrain"}
REPEATS = 3
LIMIT_SECONDS = 1.0
PROGRAM = """
import json, sys, time
import airflow.sdk, airflow.providers.standard.operators.hitl, airflow.providers.standard.operators.trigger_dagrun
import airflow.providers.standard.operators.python, airflow.sdk.bases.decorator
from airflow.dag_processing.dagbag import DagBag
wall, cpu = time.perf_counter(), time.process_time()
bag = DagBag(sys.argv[1])
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
wrong = [*bag.import_errors.values(), *(d.description for d in bag.dags.values() if "misconfigured" in d.tags)]
print(json.dumps([wall, cpu, len(bag.dags), wrong]))
"""


def models(root: Path, count: int) -> Path:
    """A folder with this many models, all with the repository's own ``model.yaml``; policies may name the first."""
    spec = (ROOT / "projects" / "flight_delay" / "model.yaml").read_text()
    for name in ["flight_delay", *(f"model_{n}" for n in range(count - 1))]:
        (root / name).mkdir(parents=True)
        (root / name / "model.yaml").write_text(re.sub(r"(?m)^name: .*$", f"name: {name}", spec))
    return root


def parse(file: Path, projects: Path, home: Path, expected: int, dag: str = "") -> tuple[float, float]:
    """Seconds that one parse takes: of the wall clock, of CPU."""
    context = {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": dag} if dag else {}
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "MODELYARD"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "MODELYARD_ROOT": str(ROOT),
        "MODELYARD_HOME": str(home),
        "MODELYARD_PROJECTS": str(projects),
        **context,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], env=env, capture_output=True, text=True, check=True
    )
    wall, cpu, dags, wrong = json.loads(done.stdout.strip().splitlines()[-1])
    assert (dags, wrong) == (expected, [])
    return wall, cpu


def rows(figure: str, times: list[tuple[float, float]]) -> list[Row]:
    """The figure's two rows."""
    wall, cpu = (statistics.median(clock) for clock in zip(*times, strict=True))
    return [
        Row(figure, wall, "s", "limit", LIMIT_SECONDS, "lower"),
        Row(f"{figure}, CPU", cpu, "s", "limit", LIMIT_SECONDS, "lower"),
    ]


def main() -> None:
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: models(Path(scratch) / str(count), count) for count in (1, 100)}
        for name in FILES:
            file, home = ROOT / "dags" / f"{name}.py", Path(scratch)
            for count, folder in folders.items():
                times = [parse(file, folder, home, count) for _ in range(REPEATS)]
                found += rows(f"{name}.py, {count} model{'s' if count > 1 else ''}", times)
            dag = f"flight_delay__{LOOPS.get(name, name)}"
            times = [parse(file, folders[100], home, 1, dag) for _ in range(REPEATS)]
            found += rows(f"{name}.py, 100 models, for a task", times)
    write("dag_parse", found)


if __name__ == "__main__":
    main()
