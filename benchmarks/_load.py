"""A load generator for one path: as many connections as asked, each with one request under way at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Result:
    """Latencies in seconds of all answers, and how many were not 200."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (len(self.latencies) - self.failed) / self.seconds

    def quantile(self, q: float) -> float:
        """A quantile of the latency in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)] * 1e3


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], result: Result, until: float) -> None:
        self._requests, self._result, self._until = requests, result, until
        self._buffer, self._sent = b"", 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._result.latencies.append(time.perf_counter() - self._sent)
        self._result.failed += head[9:12] != b"200"
        self._buffer = b""
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        if time.perf_counter() < self._until:
            self._result.failed += 1
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))  # type: ignore[attr-defined]


def load(port: int, path: str, body: Callable[[int], bytes], *, connections: int, seconds: float) -> Result:
    """Ask for so long; ``body`` makes the n-th request's body (an empty one is asked for with GET)."""
    import uvloop

    def requests() -> Iterator[bytes]:
        # Made beforehand: the generator shares two cores with the server.
        made = [_request(path, body(n)) for n in range(2000)]
        while True:
            yield from made

    async def all_connections() -> Result:
        result, start = Result(), time.perf_counter()
        source, loop = requests(), asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: _Connection(source, result, start + seconds), "127.0.0.1", port)
            for _ in range(connections)
        ]
        await asyncio.gather(*(protocol.done for _, protocol in made))
        result.seconds = time.perf_counter() - start
        return result

    return uvloop.run(all_connections())


def _request(path: str, body: bytes) -> bytes:
    if not body:
        return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
