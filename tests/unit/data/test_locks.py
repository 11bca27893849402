"""A lock excludes other processes and dies with its holder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.core.errors import Unavailable
from modelyard.data.locks import exclusive

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_held_lock_is_waited_for_then_given_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Unavailable, match="locked by another process"), exclusive(path, wait_seconds=0.05):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive(path, wait_seconds=5):
            pass


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / "lock"):
        raise KeyError
    with exclusive(tmp_path / "lock", wait_seconds=0):
        pass
