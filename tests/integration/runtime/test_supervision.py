"""A real PostgreSQL under the real supervisor: it comes up, survives faults, and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from modelyard.config.settings import Settings
from modelyard.core.errors import Conflict
from modelyard.runtime import commands, orphans, sockets
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.doctor import examine
from modelyard.runtime.secrets import read_secrets, secrets_folder

ONLY = ("databases", "watchdog")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    root = tmp_path_factory.mktemp("platform")
    made = Settings(
        root=root,
        home=root / "home",
        projects=(root,),
        policies=root,
        params=root,
        feature_repo=root,
        prediction_log=root / "predictions",
        artifacts_uri=(root / "releases").as_uri(),
        signing_key_file=root / "home" / "secrets" / "release-signing-key",
        trusted_keys_file=root / "home" / "trusted-keys.pem",
        port_postgres=sockets.free_port(),
        port_mlflow=sockets.free_port(),
        port_airflow=sockets.free_port(),
        port_gateway=sockets.free_port(),
        gateway_replicas=1,
    )
    yield made
    commands.down(made)


def pid_of(settings: Settings, name: str) -> int:
    return next(report.pid for report in commands.status(settings) if report.name == name)


def problem(settings: Settings, name: str = "postgres") -> str:
    return next(report.problem for report in commands.status(settings) if report.name == name)


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def remembered(settings: Settings) -> int:
    """How many rows the platform's database keeps; proves that it is the same database."""
    secrets = read_secrets(settings.home)
    assert secrets is not None
    url = RuntimeConfig.embedded(settings, secrets).database_url("modelyard").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (n int)")
        connection.execute("INSERT INTO memory VALUES (1)")
        row = connection.execute("SELECT count(*) FROM memory").fetchone()
    assert row is not None
    return int(row[0])


def test_up_is_idempotent(settings: Settings) -> None:
    said: list[tuple[str, str]] = []
    running = commands.up(settings, lambda *words: said.append(words), ONLY)
    assert ("postgres", "ready") in said
    assert running.env_file.is_file()
    first = pid_of(settings, "postgres")
    commands.up(settings, only=ONLY)
    assert pid_of(settings, "postgres") == first
    assert remembered(settings) == 1


def test_a_killed_server_comes_back_with_its_data(settings: Settings) -> None:
    commands.up(settings, only=ONLY)
    before, rows = pid_of(settings, "postgres"), remembered(settings)
    psutil.Process(before).send_signal(signal.SIGKILL)
    eventually(lambda: pid_of(settings, "postgres") not in (0, before) and not problem(settings))
    assert remembered(settings) == rows + 1


def test_a_killed_supervisor_is_told_by_the_doctor_and_mended_by_up(settings: Settings) -> None:
    commands.up(settings, only=ONLY)
    rows = remembered(settings)
    supervisor = int((settings.home / "run" / "supervisord.pid").read_text())
    psutil.Process(supervisor).send_signal(signal.SIGKILL)
    eventually(lambda: problem(settings) == "does not run")
    finding = next(found for found in examine(settings) if found.check == "platform")
    assert "run without their supervisor" in finding.detail
    assert "modelyard down" in finding.mend
    commands.up(settings, only=ONLY)
    assert problem(settings) == ""
    assert remembered(settings) == rows + 1


def test_a_second_up_at_the_same_time_is_refused(settings: Settings) -> None:
    with commands._alone(settings.home), pytest.raises(Conflict, match="another `modelyard up` or `down`"):
        commands.up(settings, only=ONLY)


def test_a_port_taken_by_somebody_else_breaks_nothing(settings: Settings) -> None:
    commands.down(settings)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", settings.port_postgres))
        other.listen(1)
        with pytest.raises(Conflict, match=f"port {settings.port_postgres}.*MODELYARD_PORT_POSTGRES"):
            commands.up(settings, only=ONLY)
    assert orphans.find(settings.home) == []
    commands.up(settings, only=ONLY)
    assert problem(settings) == ""


def test_an_interrupted_start_is_continued(settings: Settings) -> None:
    commands.down(settings)

    def interrupt(name: str, what: str) -> None:
        if (name, what) == ("postgres", "ready"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commands.up(settings, interrupt, ONLY)
    commands.up(settings, only=ONLY)
    assert problem(settings) == ""


def test_another_port_moves_the_server(settings: Settings) -> None:
    moved = settings.model_copy(update={"port_postgres": sockets.free_port()})
    rows = remembered(settings)
    commands.up(moved, only=ONLY)
    assert remembered(moved) == rows + 1
    assert sockets.is_free(settings.port_postgres)


def test_down_leaves_no_process_and_clean_no_file(settings: Settings) -> None:
    commands.up(settings, only=ONLY)
    assert commands.down(settings) >= 3
    assert orphans.find(settings.home) == []
    assert commands.down(settings) == 0
    assert not (settings.home / "postgres" / "postmaster.pid").exists()
    commands.clean(settings)
    assert not settings.home.exists()


def test_clean_refuses_a_folder_that_is_not_ours(tmp_path: Path, settings: Settings) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(Conflict, match="holds no secrets of ours"):
        commands.clean(settings.model_copy(update={"home": tmp_path}))
    assert thesis.is_file()
    assert not secrets_folder(tmp_path).exists()
