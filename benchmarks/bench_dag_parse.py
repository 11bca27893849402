"""How long DAG files take to parse with 1 and 100 models, beyond Airflow's own import; the peer is the limit, 1 s.

Each measurement is a process of its own: Airflow and the operators that the files use are imported first, the clock
runs from there to the DAGs. "for a task" is what a worker pays: the parsing context then names one DAG.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _report import ROOT, Row, write

FILES = ("drift_monitor", "features", "retraining", "rollout")
REPEATS = 3
LIMIT_SECONDS = 1.0
PROGRAM = """
import json, sys, time
import airflow.sdk, airflow.providers.standard.operators.hitl, airflow.providers.standard.operators.trigger_dagrun
import airflow.providers.standard.operators.python, airflow.sdk.bases.decorator
from airflow.dag_processing.dagbag import DagBag
began = time.perf_counter()
bag = DagBag(sys.argv[1])
print(json.dumps([time.perf_counter() - began, len(bag.dags), list(bag.import_errors.values())]))
"""


def models(root: Path, count: int) -> Path:
    """A folder with this many models, the repository's own first: policies may name it."""
    for name in ["flight_delay", *(f"model_{n}" for n in range(count - 1))]:
        (root / name).mkdir()
        (root / name / "model.yaml").touch()
    return root


def parse(file: Path, projects: Path, home: Path, expected: int, dag: str = "") -> float:
    """Seconds that one parse takes."""
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
    seconds, dags, errors = json.loads(done.stdout.strip().splitlines()[-1])
    assert dags == expected, (dags, errors)
    return float(seconds)


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: Path(scratch) / str(count) for count in (1, 100)}
        for count, folder in folders.items():
            folder.mkdir()
            models(folder, count)
        for name in FILES:
            file = ROOT / "dags" / f"{name}.py"
            for count, folder in folders.items():
                times = [parse(file, folder, Path(scratch), count) for _ in range(REPEATS)]
                figure = f"{name}.py, {count} model{'s' if count > 1 else ''}"
                rows.append(Row(figure, statistics.median(times), "s", "limit", LIMIT_SECONDS, "lower"))
        loop = {"drift_monitor": "monitor", "retraining": "retrain"}
        for name in FILES:
            dag = f"flight_delay__{loop.get(name, name)}"
            times = [parse(ROOT / "dags" / f"{name}.py", folders[100], Path(scratch), 1, dag) for _ in range(REPEATS)]
            rows.append(
                Row(
                    f"{name}.py, 100 models, for a task", statistics.median(times), "s", "limit", LIMIT_SECONDS, "lower"
                )
            )
    write("dag_parse", rows)


if __name__ == "__main__":
    main()
