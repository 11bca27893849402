"""Processes of an installation are found by their marks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.runtime import orphans

SLEEP = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def start(started, command: list[str], env: dict[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command, env={**os.environ, **env}, cwd=cwd, stdout=subprocess.PIPE, start_new_session=True
    )
    started.append(process)
    process.stdout.readline()
    return process


def test_found_by_environment_or_by_working_folder_and_nobody_else(tmp_path: Path, started) -> None:
    home, place = tmp_path / "home", orphans.workplace(tmp_path / "home", "api")
    place.mkdir(parents=True)
    by_env = start(started, SLEEP, orphans.marks(home, "mlflow"), tmp_path)
    by_place = start(started, SLEEP, {}, place)
    start(started, SLEEP, {}, tmp_path)
    start(started, SLEEP, orphans.marks(tmp_path / "other", "mlflow"), tmp_path)
    assert {p.pid for p in orphans.find(home)} == {by_env.pid, by_place.pid}
    assert [p.pid for p in orphans.find(home, "api")] == [by_place.pid]
    assert orphans.find(home, "gateway-1") == []


def test_all_are_stopped_even_the_deaf(tmp_path: Path, started) -> None:
    start(started, SLEEP, orphans.marks(tmp_path, "a"), tmp_path)
    start(started, DEAF, orphans.marks(tmp_path, "b"), tmp_path)
    assert orphans.stop_all(tmp_path, wait=0.3) == 2
    assert orphans.find(tmp_path) == []
