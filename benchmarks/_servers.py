"""Servers as processes of their own: the gateway's replicas, and any other command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from _bundles import MODEL, trust

from modelyard.ports.fleet import Route

HERE = Path(__file__).parent
TOKEN = "only-for-this-benchmark"  # noqa: S105


class Server(NamedTuple):
    """A server that answers."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time of it and its children so far."""
        first = psutil.Process(self.pid)
        times = [each.cpu_times() for each in (first, *first.children(recursive=True))]
        return sum(t.user + t.system for t in times)


Target = tuple[Server, str, Callable[[int], bytes]]


@contextmanager
def process(command: list[str], port: int, path: str, *, log: Path | None = None, **env: str) -> Iterator[Server]:
    """A server as a process of its own group, with what it says in ``log``; yields it once it answers.

    Raises:
        RuntimeError: it ends, or does not answer within two minutes; with the end of its log.
    """
    with (log or Path(os.devnull)).open("ab") as said:
        started = subprocess.Popen(command, env=os.environ | env, start_new_session=True, stdout=said, stderr=said)
    try:
        wait_for(started, f"http://127.0.0.1:{port}{path}", log)
        yield Server(port, started.pid)
    finally:
        end(started)


def wait_for(started: subprocess.Popen[bytes], url: str, log: Path | None) -> None:
    """Until it answers. Raises ``RuntimeError`` with the end of its log."""
    deadline = time.monotonic() + 120
    while started.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    ended = "does not answer" if started.poll() is None else f"ended with {started.returncode}"
    said = log.read_text(errors="replace").strip()[-2000:] if log else ""
    raise RuntimeError(f"{url}: the server {ended}. {said}")


def end(started: subprocess.Popen[bytes]) -> None:
    """Stop it and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGTERM)
    try:
        started.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def gateway(folder: Path, name: str, route: Route, *, off: bool = False, env: Mapping[str, str] = {}) -> Any:
    """A gateway with this route, and these variables besides its own; ``off`` without log and metrics."""
    home, port = folder / name, free_port()
    home.mkdir()
    (home / "token").write_text(TOKEN)
    trust(home)
    env = {**env, "MODELYARD_HOME": str(home), "MODELYARD_ADMIN_TOKEN_FILE": str(home / "token")}
    program = [str(HERE / "_peers.py"), "off"] if off else ["-m", "modelyard.serving"]
    command = [sys.executable, *program, "--replica", name, "--port", str(port)]

    @contextmanager
    def started() -> Iterator[Server]:
        with process(command, port, "/healthz", **env) as server:
            body = {"route": route.to_dict(), "generation": 1}
            headers = {"authorization": f"Bearer {TOKEN}"}
            url = f"http://127.0.0.1:{port}/admin/v1/models/{MODEL}/route"
            httpx.put(url, json=body, headers=headers, timeout=60).raise_for_status()
            yield server

    return started()


def mlflow_server(folder: Path, graph: bytes) -> Any:
    """``mlflow models serve`` on a graph, with MLflow's own ONNX flavour."""
    import mlflow.onnx
    import onnx

    path, port = folder / "mlflow", free_port()
    mlflow.onnx.save_model(onnx.load_from_string(graph), str(path), pip_requirements=["onnxruntime"])
    tool = Path(sys.executable).with_name("mlflow")
    command = [str(tool), "models", "serve", "-m", str(path), "-p", str(port), "--env-manager", "local"]
    # The tool calls `uvicorn` and `python` by name.
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return process(command, port, "/ping", PATH=places, MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
