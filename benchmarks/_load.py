"""Load for one path, by a client that costs less than what it measures where there is one.

Closed loop: as many connections as asked, each with one request under way at a time, by ``wrk`` (a compiled client;
``apt-get install wrk``). Without it a client in Python does the same, takes a core for itself, and holds the fastest
servers back: ratios between them are then understated, and the result says so. Open loop: so many requests a second
whatever comes back, timed from the moment at which each was due.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

BODIES = 500
_LUA = """
local requests, n = {}, 0
function init()
  for line in io.lines("@BODIES") do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
  end
end
function request() n = n % #requests + 1; return requests[n] end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"failed":%d,"p95":%d,"p99":%d}\\n', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(95), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Result:
    """What a load came to. Latencies in milliseconds; ``cpu_us`` is the server's processor time per request."""

    requests: int
    seconds: float
    failed: int
    p95: float
    p99: float
    cpu_us: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.requests - self.failed) / self.seconds


def client() -> str:
    """Which client makes the load."""
    return "wrk" if shutil.which("wrk") else "Python on uvloop"


def load(port: int, path: str, body: Callable[[int], bytes], *, connections: int, seconds: float) -> Result:
    """Ask for so long; ``body`` makes the n-th request's body."""
    bodies = [body(n) for n in range(BODIES)]
    if client() == "wrk":
        return _by_wrk(port, path, bodies, connections, seconds)
    return _summary(_closed_loop(port, path, bodies, connections, seconds))


def open_loop(port: int, path: str, body: Callable[[int], bytes], *, rate: float, seconds: float) -> Result:
    """``rate`` requests a second, spread over 32 connections."""
    import uvloop

    requests = [request(path, body(n)) for n in range(BODIES)]

    async def run() -> _Measured:
        measured, start = _Measured(), time.perf_counter()
        loop, free, taken = asyncio.get_running_loop(), asyncio.Queue[_Connection](), []
        for _ in range(32):
            _, made = await loop.create_connection(lambda: _Connection(measured, free.put_nowait), "127.0.0.1", port)
            taken.append(made)
            free.put_nowait(made)
        start = time.perf_counter()
        for n in range(int(rate * seconds)):
            due = start + n / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            (await free.get()).send(requests[n % BODIES], due)
        for _ in taken:
            await free.get()
        measured.seconds = time.perf_counter() - start
        return measured

    return _summary(uvloop.run(run()))


def _by_wrk(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> Result:
    with TemporaryDirectory() as folder:
        data, script = Path(folder, "bodies"), Path(folder, "load.lua")
        data.write_bytes(b"\n".join(bodies))
        script.write_text(_LUA.replace("@BODIES", str(data)))
        # wrk knows whole seconds only.
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        command = ["wrk", *options, f"http://127.0.0.1:{port}{path}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return Result(found["requests"], found["us"] / 1e6, found["failed"], found["p95"] / 1e3, found["p99"] / 1e3)


@dataclass
class _Measured:
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failed: int = 0


def _summary(measured: _Measured) -> Result:
    ordered = sorted(measured.latencies)
    p95, p99 = (ordered[min(int(q * len(ordered)), len(ordered) - 1)] * 1e3 for q in (0.95, 0.99))
    return Result(len(ordered), measured.seconds, measured.failed, p95, p99)


class _Connection(asyncio.Protocol):
    """One request under way at a time; ``answered`` is called after each."""

    def __init__(self, measured: _Measured, answered: Callable[[_Connection], None]) -> None:
        self._measured, self._answered = measured, answered
        self._buffer, self._since, self._waits = b"", 0.0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes, since: float) -> None:
        self._since, self._waits = since, True
        if self.lost:
            self._end(failed=True)
            return
        self._transport.write(request)  # type: ignore[attr-defined]

    @property
    def lost(self) -> bool:
        return self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) >= end + 4 + length:
            self._end(failed=head[9:12] != b"200")

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        if self._waits:
            self._end(failed=True)

    def _end(self, *, failed: bool) -> None:
        self._measured.latencies.append(time.perf_counter() - self._since)
        self._measured.failed += failed
        self._buffer, self._waits = b"", False
        self._answered(self)


def _closed_loop(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> _Measured:
    import uvloop

    made = [request(path, body) for body in bodies]

    def forever() -> Iterator[bytes]:
        while True:
            yield from made

    async def run() -> _Measured:
        measured, requests, start = _Measured(), forever(), time.perf_counter()
        loop, ended = asyncio.get_running_loop(), asyncio.Queue[None]()

        def answered(one: _Connection) -> None:
            now = time.perf_counter()
            if now < start + seconds and not one.lost:
                one.send(next(requests), now)
            else:
                ended.put_nowait(None)

        for _ in range(connections):
            _, one = await loop.create_connection(lambda: _Connection(measured, answered), "127.0.0.1", port)
            one.send(next(requests), time.perf_counter())
        for _ in range(connections):
            await ended.get()
        measured.seconds = time.perf_counter() - start
        return measured

    return uvloop.run(run())


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON, as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
