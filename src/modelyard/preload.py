"""Runs a program with the libraries of the tasks loaded already: ``python -m modelyard.preload airflow scheduler``.

Airflow's local executor forks a process for each task. What the scheduler has loaded, its tasks have; what it has not,
each of them imports again, which takes longer than most of them work (``docs/adr/0032-preloaded-scheduler.md``). Where
processes are spawned and not forked it changes nothing.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points

from modelyard.core.errors import NotFound

MODULES = (
    "dvc.repo",
    "feast.infra.offline_stores.duckdb",
    "feast.infra.online_stores.postgres_online_store.postgres",
    "feast.infra.registry.sql",
    "matplotlib.figure",
    "mlflow",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "psycopg",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.metrics",
    "torch.export",
    "torch.onnx",
)
"""Importing them starts no thread: a fork would copy the locks and not the threads (tested)."""


def load() -> None:
    """Import what the tasks need, and the adapters' libraries in the way in which the adapters do it."""
    from modelyard.adapters import feast_features, ge_validator

    for adapter in (feast_features, ge_validator):
        adapter.load()
    for name in MODULES:
        importlib.import_module(name)
    # Our own code is read by each task: a release names the source that made it, as it lies on the disk then.
    for name in [name for name in sys.modules if name.startswith("modelyard.") and name != __name__]:
        del sys.modules[name]


def main(words: list[str]) -> int:
    """Run the console script that the first word names with the others.

    Raises:
        NotFound: no such script is installed.
    """
    program, *_ = words or [""]
    scripts = {script.name: script for script in entry_points(group="console_scripts")}
    if program not in scripts:
        raise NotFound("console script", program)
    load()
    sys.argv = words
    return int(scripts[program].load()() or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
