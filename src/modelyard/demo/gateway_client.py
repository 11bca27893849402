"""Sends requests to the gateway's replicas in turn, over connections that are kept, and counts honestly.

A request is sent once. Whatever is not answered with the expected status, in time, is a failure and is written down.
HTTP is spoken directly, because a general client spends more time per request than the gateway does.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

Call = tuple[str, object]
"""Path and JSON body of a POST request."""

_WAIT_SECONDS = 10.0
# Servers close idle connections; one that may be closing just now is not used again.
_IDLE_SECONDS = 2.0


@dataclass
class Tally:
    """What was sent and what came back. ``failures`` holds (wall time, path, what happened)."""

    sent: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many requests were not answered as they should."""
        return len(self.failures)


class _Connection:
    """One kept connection to one replica; opened when it is needed, opened again when the replica closed it idle."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used = 0.0

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await self._post(path, body)
        except BaseException:
            self.close()
            raise

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        idle = time.monotonic() - self._used > _IDLE_SECONDS
        if idle or self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status, length = _parse(answer)
        content = await self._reader.readexactly(length)
        self._used = time.monotonic()
        return status, content

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _parse(head: bytes) -> tuple[int, int]:
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            return status, int(value)
    raise ValueError("an answer without content-length")


class GatewayClient:
    """Posts JSON to all replicas in turn over a fixed number of connections."""

    def __init__(self, urls: Sequence[str], tally: Tally, connections: int = 16) -> None:
        places = [urlsplit(urls[n % len(urls)]) for n in range(connections)]
        self._connections = [_Connection(p.hostname or "", p.port or 80) for p in places]
        self.tally = tally

    async def post_all(self, kind: str, calls: Iterable[Call], expected: int) -> list[bytes]:
        """Send all calls, in order over the connections; returns the bodies of the good answers."""
        waiting = iter(calls)
        bodies: list[bytes] = []

        async def work(connection: _Connection) -> None:
            for path, body in waiting:
                answer = await self._one(connection, kind, path, body, expected)
                if answer is not None:
                    bodies.append(answer)

        await asyncio.gather(*(work(c) for c in self._connections))
        return bodies

    async def _one(self, connection: _Connection, kind: str, path: str, body: object, expected: int) -> bytes | None:
        self.tally.sent[kind] += 1
        try:
            status, answer = await connection.post(path, msgspec.json.encode(body))
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if status == expected:
                return answer
            problem = f"{status}: {answer[:300].decode(errors='replace')}"
        self.tally.failures.append((time.time(), path, problem))
        return None

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()
