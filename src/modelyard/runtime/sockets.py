"""Whether a port is free, and who has it if not."""

from __future__ import annotations

import socket

import psutil


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether we could listen there. Connections of a server that has just ended do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> psutil.Process | None:
    """The process that listens on the port, where the system tells us."""
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in found:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                return psutil.Process(connection.pid)
            except psutil.NoSuchProcess:
                return None
    return None


def describe(process: psutil.Process | None) -> str:
    """A process as a person recognises it."""
    if process is None:
        return "another process"
    try:
        line = " ".join(process.cmdline())[:100] or process.name()
    except psutil.Error:
        return f"process {process.pid}"
    return f"process {process.pid} ({line})"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment, from the system's ephemeral range."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
