"""Each way of not running PostgreSQL as root that this machine offers makes a server that answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.runtime import launch, postgres, sockets


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="modelyard-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_server_runs_as_somebody_else_than_root(
    open_folder: Path, namespaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = namespaces and postgres._namespace_works()
    monkeypatch.setattr(postgres, "_namespace_works", lambda: works)
    cluster, port = open_folder / "cluster", sockets.free_port()
    assert postgres.init_cluster(cluster, "secret")
    assert not postgres.init_cluster(cluster, "secret")
    assert sorted(path.name for path in open_folder.iterdir()) == ["cluster"]
    expected = () if os.geteuid() else ("unshare",) if works else ("setpriv",)
    assert postgres.prefix(cluster)[:1] == expected
    python = Path(sys.executable)
    command = ("postgres", "-D", str(cluster), "-c", f"port={port}", "-c", "unix_socket_directories=")
    process = subprocess.Popen(launch.resolve(command, python, cluster), stderr=subprocess.DEVNULL)
    asking = launch.resolve(("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)), python)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(asking, check=False).returncode != 0:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
