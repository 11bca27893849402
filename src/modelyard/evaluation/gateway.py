"""A release behind a real gateway: a replica of its own, asked over HTTP and ended again. No user meets it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.core.errors import Unavailable
from modelyard.core.verdict import Measurement
from modelyard.evaluation.metrics import Floats
from modelyard.ports.fleet import Arm, Route

if TYPE_CHECKING:
    import httpx

WARM_UP, REQUESTS = 20, 200
PATIENCE_S = 60.0
"""For the replica to come up: a busy machine takes long, and only one that never comes is no evidence."""

ANSWERS = ("gateway_failures", "gateway_refused_share", "gateway_difference")
REFUSED = 422
"""The signature does not accept the row: told apart from a gateway that fails."""
MEMORY = "memory_bytes"
SPEED = ("gateway_latency_p50_ms", "gateway_latency_p95_ms", "gateway_latency_p99_ms", "gateway_requests_s")
Rows = Sequence[Mapping[str, Any]]


def measure_gateway(
    arm: Arm, model: str, rows: Rows, expected: Floats, env: Mapping[str, str]
) -> Iterator[Measurement]:
    """What a gateway answers to ``rows`` (as requests have them, one each), how it differs from ``expected``, how fast.

    ``env`` are settings (``MODELYARD_*``) that it shares with the platform's gateways, such as whose signatures count.
    A gateway that does not come up, or refuses the release, gives measurements without a value that say so.
    """
    if not rows:
        yield from _nothing(arm, "there are no rows to ask for")
        return
    try:
        with replica(env) as (http, process):
            before = _resident(process)
            routed = http.put(f"/admin/v1/models/{model}/route", json=_route(arm, model), timeout=PATIENCE_S)
            if routed.status_code != 200:
                raise Unavailable(f"the gateway refuses the release: {routed.text[:300]}")
            answers, refused, spent = _ask(http, model, rows)
            grown = max(0, _resident(process) - before)
    except (OSError, Unavailable) as error:
        yield from _nothing(arm, str(error))
        return
    yield from _answers(arm, answers, refused, expected)
    yield from _speed(arm, spent)
    # With what ONNX Runtime takes when its first model is loaded: a replica that serves anything pays it once.
    yield Measurement(name=MEMORY, value=grown, unit="bytes", subject=arm.release)


@contextmanager
def replica(env: Mapping[str, str]) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A started replica with nothing routed, on a free port of this machine, with a folder that goes with it.

    Raises:
        Unavailable: it did not come up.
    """
    import httpx

    with TemporaryDirectory(prefix="modelyard-gateway-") as scratch:
        token, home = secrets.token_urlsafe(24), Path(scratch)
        (home / "token").write_text(token)
        (home / "token").chmod(0o600)
        port = _free_port()
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(_command(port), env=_environment(home) | dict(env), stdout=log, stderr=log)  # noqa: S603
        address, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {token}"}
        try:
            with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as http:
                _await(http, process, home / "log")
                yield http, process
        except httpx.HTTPError as error:
            raise Unavailable(f"the gateway does not answer: {error!r}") from None
        finally:
            process.kill()
            process.wait()


def _command(port: int) -> list[str]:
    # A task that is killed has no time to end it.
    own = ["--replica", "gates", "--port", str(port), "--parent", str(os.getpid())]
    return [sys.executable, "-m", "modelyard.serving", *own]


def _environment(home: Path) -> dict[str, str]:
    """Nothing of the platform's own settings: this replica must not write where the others do.

    Nor does it read an online store: every value is in the request, and the address is one where nobody listens.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODELYARD_", "FEAST_"))}
    own = {"ROOT": home, "HOME": home / "home", "ADMIN_TOKEN_FILE": home / "token"}
    closed = {"FEAST_POSTGRES_HOST": "127.0.0.1", "FEAST_POSTGRES_PORT": "1"}
    return kept | closed | {f"MODELYARD_{name}": str(value) for name, value in own.items()}


def _await(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            http.get("/healthz")
            return
        except httpx.TransportError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise Unavailable(f"the gateway did not come up: {log.read_text(errors='replace')[-300:] or 'it says nothing'}")


def _ask(http: httpx.Client, model: str, rows: Rows) -> tuple[list[float], list[bool], Floats]:
    """After the warm-up: the probability of each request (NaN: none), whether it was refused, its milliseconds."""
    answers, refused, spent = [], [], []
    for number in range(-WARM_UP, max(REQUESTS, len(rows))):
        body = {"rows": [rows[number % len(rows)]]}
        start = time.perf_counter()
        answer = http.post(f"/v1/models/{model}/predict", json=body)
        if number >= 0:
            spent.append((time.perf_counter() - start) * 1000)
            answers.append(_probability(answer))
            refused.append(answer.status_code == REFUSED)
    return answers, refused, np.array(spent)


def _probability(answer: httpx.Response) -> float:
    try:
        return float(answer.json()["predictions"][0]["probability"]) if answer.status_code == 200 else float("nan")
    except (ValueError, KeyError, IndexError, TypeError):
        return float("nan")


def _answers(arm: Arm, answers: list[float], refused: list[bool], expected: Floats) -> Iterator[Measurement]:
    given, turned_down, n = np.array(answers), np.array(refused), len(answers)
    failed = ~np.isfinite(given)
    about: dict[str, Any] = {"n": n, "subject": arm.release}
    yield Measurement(name=ANSWERS[0], value=float((failed & ~turned_down).sum()), **about)
    yield Measurement(name=ANSWERS[1], value=float(turned_down.mean()), **about)
    if failed.all():
        yield Measurement(name=ANSWERS[2], value=None, why="no request was answered", **about)
        return
    gap = np.abs(given - np.resize(expected, n))[~failed]
    yield Measurement(name=ANSWERS[2], value=float(gap.max()), n=gap.size, subject=arm.release)


def _speed(arm: Arm, spent: Floats) -> Iterator[Measurement]:
    about: dict[str, Any] = {"n": spent.size, "subject": arm.release}
    for name, q in zip(SPEED[:3], (50, 95, 99), strict=True):
        yield Measurement(name=name, value=float(np.percentile(spent, q)), unit="ms", **about)
    yield Measurement(name=SPEED[3], value=float(1000 * spent.size / spent.sum()), unit="1/s", **about)


def _nothing(arm: Arm, why: str) -> Iterator[Measurement]:
    yield from (Measurement(name=n, value=None, why=why, subject=arm.release) for n in (*ANSWERS, *SPEED, MEMORY))


def _route(arm: Arm, model: str) -> dict[str, Any]:
    return {"route": Route(model=model, champion=arm).to_dict(), "generation": 1}


def _resident(process: subprocess.Popen[bytes]) -> int:
    """Bytes. Raises ``OSError`` where the process is gone."""
    import psutil

    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error as error:
        raise OSError(f"the gateway is gone: {error}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
