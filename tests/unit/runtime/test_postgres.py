"""Refusals of the embedded PostgreSQL; that it runs is shown by the integration tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.runtime import postgres
from modelyard.runtime.databases import main as databases
from modelyard.runtime.launch import resolve


def test_files_of_another_version_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("16\n")
    with pytest.raises(postgres.CannotRun, match="made by PostgreSQL 16, and this is 18"):
        postgres.init_cluster(tmp_path, "secret")


def test_somebody_else_s_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(postgres.CannotRun, match="is not empty"):
        postgres.init_cluster(tmp_path, "secret")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_lock_of_a_dead_server_is_removed(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    for first in (str(os.getpid()), "999999999", "garbage"):
        lock.write_text(f"{first}\n{tmp_path}\n")
        postgres.forget_dead_server(tmp_path)
        assert not lock.exists()
    postgres.forget_dead_server(tmp_path)


def test_programs_come_from_the_wheel_and_from_this_environment(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    (tmp_path / "bin" / "airflow").write_text("")
    assert resolve(("python", "-m", "x"), python) == [str(python), "-m", "x"]
    assert resolve(("airflow", "scheduler"), python) == [str(tmp_path / "bin" / "airflow"), "scheduler"]
    assert resolve(("sh", "-c", "x"), python) == ["sh", "-c", "x"]
    assert resolve(("pg_isready",), python) == [str(postgres.binaries() / "pg_isready")]


def test_the_databases_task_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delenv("YARD_ADMIN_URL", raising=False)
    assert databases() == 1
    assert "YARD_ADMIN_URL" in capsys.readouterr().err
