"""Finds and stops the processes of an installation, by a marker in their environment.

A supervisor that is killed leaves its processes running; a server that is killed leaves its workers. Names and process
ids say nothing reliable about whose they are, the marker does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

INSTANCE = "YARD_INSTANCE"
PROCESS = "YARD_PROCESS"


def marks(home: Path, name: str) -> dict[str, str]:
    """The variables that mark a process as part of the installation in ``home``."""
    return {INSTANCE: str(home), PROCESS: name}


def find(home: Path, name: str | None = None) -> list[psutil.Process]:
    """Living processes of the installation (of one part, if named), without this one and its ancestors."""
    me = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in me:
            continue
        try:
            env = process.environ()
            ours = env.get(INSTANCE) == str(home) and name in (None, env.get(PROCESS))
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def part(process: psutil.Process) -> str:
    """Which part of the installation a process belongs to."""
    try:
        return process.environ().get(PROCESS, "")
    except psutil.Error:
        return ""


def stop(processes: Iterable[psutil.Process], wait: float = 10.0) -> int:
    """Ask the processes to end (PostgreSQL for a fast shutdown), then make them; returns how many there were."""
    processes = list(processes)
    for process in processes:
        _signal(process, signal.SIGINT if part(process) == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=wait)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    return len(processes)


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def stop_all(home: Path, wait: float = 10.0) -> int:
    """Stop everything of the installation, clients before PostgreSQL; returns how many processes there were."""
    stopped = 0
    deadline = time.monotonic() + 3 * wait + 10
    while time.monotonic() < deadline:
        everything = find(home)
        if not everything:
            break
        clients = [process for process in everything if part(process) != "postgres"]
        stopped += stop(clients or everything, wait)
    return stopped
