"""``make stop`` and ``make clean`` where .venv is gone: what we started ends, what we did not start does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.runtime import orphans

ROOT = Path(__file__).parents[3]
WAIT = "import time; print('up', flush=True); time.sleep(120)"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The Makefile and the scripts alone: as after `rm -rf .venv`."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    shutil.copy(ROOT / "Makefile", clone / "Makefile")
    return clone


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[subprocess.Popen[bytes]] = []

    def one(code: str = WAIT, *, marks: dict[str, str] | None = None, at: Path = tmp_path) -> subprocess.Popen[bytes]:
        at.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={"PATH": os.defpath, **(marks or {})},
            cwd=at,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process

    yield one
    for process in begun:
        process.kill()
        process.communicate()


def make(clone: Path, target: str, **env: str) -> subprocess.CompletedProcess[str]:
    # Also without what the make that runs the tests tells a make that it calls.
    ours = ("MODELYARD_", "YARD_", "MAKE", "MFLAGS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return subprocess.run(
        ["make", target], cwd=clone, env=kept | env, capture_output=True, text=True, check=False, timeout=60
    )


def test_clean_stops_what_runs_before_it_removes_the_home(clone: Path, start: Start) -> None:
    home = clone / "var"
    supervisor = start(marks=orphans.marks(home, "supervisor"))
    marked = start(marks=orphans.marks(home, "mlflow"))
    placed = start(at=orphans.workplace(home, "airflow-triggerer"))
    server = start(at=home / "postgres")
    (home / "postgres" / "postmaster.pid").write_text(f"{server.pid}\n/somewhere\n")
    bystander, other = start(), start(marks=orphans.marks(clone / "other", "mlflow"))
    done = make(clone, "clean")
    assert done.returncode == 0, done.stderr
    assert f"Stopped 4 processes and removed {home}." in done.stdout
    assert not home.exists()
    assert all(process.wait(5) for process in (supervisor, marked, placed, server))
    assert bystander.poll() is None
    assert other.poll() is None


def test_stop_keeps_the_state(clone: Path, start: Start) -> None:
    home = clone / "var"
    (home / "releases").mkdir(parents=True)
    process = start(marks=orphans.marks(home, "gateway-1"))
    done = make(clone, "stop")
    assert done.returncode == 0, done.stderr
    assert "State is kept" in done.stdout
    assert process.wait(5)
    assert (home / "releases").is_dir()


def test_the_home_of_the_environment_is_meant(clone: Path, start: Start, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    process = start(marks=orphans.marks(home, "mlflow"))
    (home / "secrets").mkdir(parents=True)
    refused = make(clone, "clean", MODELYARD_HOME=str(home))
    assert refused.returncode != 0
    assert "may not be a home of Modelyard" in refused.stderr
    assert process.poll() is None
    (home / "secrets" / "airflow-passwords.json").write_text("{}")
    assert make(clone, "clean", MODELYARD_HOME=f"{home}/").returncode == 0
    assert process.wait(5)
    assert not home.exists()


def test_nothing_to_stop_is_said(clone: Path) -> None:
    done = make(clone, "clean")
    assert done.returncode == 0
    assert "Nothing runs" in done.stdout


def test_a_whole_installation_is_asked_itself(clone: Path) -> None:
    called = clone / ".venv" / "bin"
    called.mkdir(parents=True)
    for name, does in (("modelyard", 'echo "modelyard $@"'), ("python", "exit 0")):
        (called / name).write_text(f"#!/bin/sh\n{does}\n")
        (called / name).chmod(0o755)
    assert make(clone, "clean").stdout.strip() == "modelyard clean --yes"
    assert make(clone, "stop").stdout.strip() == "modelyard down"
    (called / "python").write_text("#!/bin/sh\nexit 1\n")
    assert "Nothing runs" in make(clone, "stop").stdout, "a broken one is not"
