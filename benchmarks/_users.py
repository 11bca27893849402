"""Users in a process of their own: so many requests a second, whatever comes back, until told to stop.

Each request is timed from the moment at which it was due, so that a server that stalls is charged for all who wait. A
connection that was closed between two requests is opened anew, as any client does; what is refused, reset, answered
with anything but 200, or not answered within ``PATIENCE_S`` is a failure. Nothing is asked twice.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from _load import BODIES, request
from numpy.typing import NDArray

CONNECTIONS = 32
PATIENCE_S = 20.0


@dataclass
class Asked:
    """What users met: the latency of each request in milliseconds, and failures by kind."""

    latencies: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    failed: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Asked) -> Asked:
        return Asked(np.concatenate([self.latencies, other.latencies]), self.failed + other.failed)

    def quantile(self, share: float) -> float:
        """The latency that this share of the requests did not exceed."""
        return float(np.quantile(self.latencies, share))

    @property
    def failures(self) -> int:
        """How many failed."""
        return sum(self.failed.values())


@contextmanager
def users(ports: Sequence[int], rate: float, path: str, body: Callable[[int], bytes]) -> Iterator[Asked]:
    """Users who ask these ports in turn; what they met is filled in at the end. ``body`` makes the n-th request's."""
    asked = Asked()
    with TemporaryDirectory() as folder:
        out, bodies = Path(folder, "latencies.npy"), Path(folder, "bodies")
        bodies.write_bytes(b"\n".join(body(n) for n in range(BODIES)))
        command = [sys.executable, __file__, str(out), str(bodies), path, str(rate), *map(str, ports)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            assert process.stdout.readline() == "asking\n"
            yield asked
            process.stdin.close()
            asked.failed.update(json.loads(process.stdout.read()))
        asked.latencies = np.load(out)


class User(asyncio.Protocol):
    """One connection: one request at a time; ``ask`` says what was wrong with the answer, or nothing."""

    def __init__(self) -> None:
        self._buffer, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    async def ask(self, content: bytes, port: int) -> str:
        """Send, and wait for the whole answer."""
        self._buffer, self._answer = b"", asyncio.get_running_loop().create_future()
        try:
            if self._transport is None or self._transport.is_closing():
                loop = asyncio.get_running_loop()
                self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", port)
            self._transport.write(content)
            async with asyncio.timeout(PATIENCE_S):
                status: bytes = await self._answer
        except (OSError, TimeoutError) as error:
            return type(error).__name__
        return "" if status == b"200" else f"status {status.decode()}"

    def data_received(self, data: bytes) -> None:
        """Whole answers only; they all say how long they are."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= end + 4 + length and not self._answer.done():
            self._answer.set_result(head[9:12])

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits is told."""
        self._transport = None
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed without an answer"))


async def _ask_all(requests: list[bytes], rate: float, ports: Sequence[int]) -> tuple[list[float], Counter[str]]:
    free: asyncio.Queue[tuple[User, int]] = asyncio.Queue()
    for place in range(CONNECTIONS):
        free.put_nowait((User(), ports[place % len(ports)]))
    latencies: list[float] = []
    failed: Counter[str] = Counter()
    tasks: set[asyncio.Task[None]] = set()

    async def one(user: User, port: int, content: bytes, due: float) -> None:
        if wrong := await user.ask(content, port):
            failed[wrong] += 1
        latencies.append(time.perf_counter() - due)
        free.put_nowait((user, port))

    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print("asking", flush=True)
    start, n = time.perf_counter(), 0
    while not stopped.done():
        due = start + n / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        user, port = await free.get()
        task = asyncio.create_task(one(user, port, requests[n % len(requests)], due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        n += 1
    await asyncio.gather(*tasks)
    return latencies, failed


def main() -> None:
    """Ask until standard input ends; write the latencies, and say what failed."""
    import uvloop

    out, bodies, path, rate, *ports = sys.argv[1:]
    requests = [request(path, body) for body in Path(bodies).read_bytes().splitlines()]
    latencies, failed = uvloop.run(_ask_all(requests, float(rate), [int(port) for port in ports]))
    np.save(out, 1e3 * np.asarray(latencies))
    print(json.dumps(failed))


if __name__ == "__main__":
    main()
