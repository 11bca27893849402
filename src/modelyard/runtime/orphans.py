"""Finds and stops the processes of an installation, wherever a killed supervisor or server has left them.

Names and process ids say nothing reliable about whose a process is. Two marks do: variables in its environment, and its
working folder, since some programs write their title over their environment.
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


def workplace(home: Path, name: str) -> Path:
    """The working folder of one part, which marks it, too."""
    return home / "run" / "at" / name


def part(process: psutil.Process, home: Path) -> str:
    """Which part of the installation in ``home`` a process belongs to; empty when it is none of ours."""
    with suppress(psutil.Error):
        env = process.environ()
        if env.get(INSTANCE) == str(home):
            return env.get(PROCESS, "")
    with suppress(psutil.Error):
        place = Path(process.cwd())
        if place.parent == workplace(home, "any").parent and process.terminal() is None:
            return place.name
        if place == home / "postgres" and process.terminal() is None:
            return "postgres"  # PostgreSQL works in the folder of its files
    return ""


def find(home: Path, name: str | None = None) -> list[psutil.Process]:
    """Living processes of the installation (of one part, if named), without this one and its ancestors."""
    me = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in me:
            continue
        with suppress(psutil.Error):
            belongs = part(process, home)
            if belongs and name in (None, belongs) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def stop(processes: Iterable[psutil.Process], wait: float = 10.0, number: int = signal.SIGTERM) -> int:
    """Ask the processes to end, then make them; returns how many there were."""
    processes = list(processes)
    for process in processes:
        _signal(process, number)
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
        clients = [process for process in everything if part(process, home) != "postgres"]
        # To PostgreSQL it means a fast shutdown, in which open transactions are rolled back.
        stopped += stop(clients, wait) if clients else stop(_servers(everything), wait, signal.SIGINT)
    return stopped


def _servers(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those whose parent is not among them: PostgreSQL itself ends its children, which read signals differently."""
    pids = {process.pid for process in processes}
    tops = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                tops.append(process)
    return tops
