"""A program that runs with the tasks' libraries loaded, and children that it forks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from modelyard.core.errors import NotFound
from modelyard.preload import main

FORKS = """
import json, os, sys, threading
from modelyard import preload

preload.load()
threads = [thread.name for thread in threading.enumerate()]
before = set(sys.modules)
child = os.fork()
if child == 0:
    import io
    import matplotlib.figure, numpy, pandas, pyarrow, pyarrow.parquet, torch
    rows = pandas.DataFrame({"x": numpy.random.default_rng(0).normal(size=(400, 400)).dot(numpy.ones(400))})
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(rows), io.BytesIO())
    layer = torch.nn.Linear(1, 1)
    layer(torch.tensor(rows.to_numpy(dtype="float32"))).sum().backward()
    os._exit(0 if set(sys.modules) - before == set() else 3)
_, status = os.waitpid(child, 0)
print(json.dumps({"threads": threads, "child": os.waitstatus_to_exitcode(status), "modules": sorted(before)}))
"""
NEEDED = {"dvc.repo", "feast", "great_expectations", "mlflow", "onnxruntime", "onnxscript", "pandas", "torch"}


def test_children_have_the_libraries_and_can_use_them() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True, timeout=240)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["threads"] == ["MainThread"]
    assert found["child"] == 0
    assert set(found["modules"]) >= NEEDED
    assert "airflow" not in found["modules"]


def test_a_script_that_is_not_installed_is_refused() -> None:
    with pytest.raises(NotFound, match="no-such-script"):
        main(["no-such-script", "--help"])
    with pytest.raises(NotFound):
        main([])


def test_the_script_gets_its_own_words() -> None:
    command = [sys.executable, "-m", "modelyard.preload", "alembic", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.startswith("alembic ")
