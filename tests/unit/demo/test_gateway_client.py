"""The client that counts honestly: every request is sent once, and whatever is not answered well is a failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from modelyard.demo import gateway_client
from modelyard.demo.gateway_client import Call, GatewayClient, Tally

Answer = Callable[[dict[str, object]], bytes]


def http(status: int, body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nServer: test\r\n\r\n%s" % (status, len(body), body)


class Server:
    """A replica on a free port; counts connections and requests."""

    def __init__(self, answer: Answer, *, close_after: int = 0) -> None:
        self._answer, self._close_after = answer, close_after
        self.connections, self.bodies = 0, []
        self.url = ""

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        served = 0
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.bodies.append(body)
                writer.write(self._answer(body))
                await writer.drain()
                served += 1
                if served == self._close_after:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()


def post(
    calls: list[Call], answer: Answer, *, connections: int = 4, **options: int
) -> tuple[Tally, list[bytes], Server]:
    """Post all calls to one replica."""

    async def run() -> tuple[Tally, list[bytes], Server]:
        async with Server(answer, **options) as server:
            client = GatewayClient([server.url], Tally(), connections)
            bodies = await client.post_all("predict", calls, 200)
            client.close()
            return client.tally, bodies, server

    return asyncio.run(run())


def calls(count: int) -> list[Call]:
    return [("/v1/models/m/predict", {"n": n}) for n in range(count)]


def test_sends_every_request_once_and_keeps_connections() -> None:
    tally, bodies, server = post(calls(50), lambda body: http(200, json.dumps(body).encode()))
    assert tally.sent["predict"] == 50
    assert tally.failed == 0
    assert sorted(json.loads(b)["n"] for b in bodies) == list(range(50))
    assert server.connections == 4


def test_counts_every_other_status_as_a_failure() -> None:
    tally, bodies, _ = post(calls(10), lambda body: http(200 if body["n"] != 3 else 503, b'{"error": "busy"}'))
    assert len(bodies) == 9
    assert [(path, what[:3]) for _, path, what in tally.failures] == [("/v1/models/m/predict", "503")]


def test_a_connection_cut_in_an_answer_is_a_failure_and_the_next_request_goes_on() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    tally, bodies, server = post(
        calls(2), lambda body: cut if body["n"] == 0 else http(200), connections=1, close_after=1
    )
    assert tally.failed == 1
    assert len(bodies) == 1
    assert server.connections == 2


def test_a_connection_that_the_replica_closed_between_requests_is_opened_again_and_nothing_is_sent_twice() -> None:
    async def run() -> tuple[Tally, Server]:
        async with Server(lambda _: http(200), close_after=1) as server:
            client = GatewayClient([server.url], Tally(), 1)
            for call in calls(3):
                await client.post_all("predict", [call], 200)
                await asyncio.sleep(0.05)
            client.close()
            return client.tally, server

    tally, server = asyncio.run(run())
    assert tally.failed == 0
    assert [body["n"] for body in server.bodies] == [0, 1, 2]


def test_a_connection_that_was_idle_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_client, "_IDLE_SECONDS", -1.0)
    _, bodies, server = post(calls(3), lambda _: http(200), connections=1)
    assert len(bodies) == 3
    assert server.connections == 3


def test_an_answer_that_does_not_come_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_client, "_WAIT_SECONDS", 0.05)

    async def run(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Tally:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = GatewayClient([url], Tally(), 1)
            await client.post_all("predict", calls(1), 200)
            return client.tally

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    assert [what[:12] for _, _, what in asyncio.run(run(silent)).failures] == ["TimeoutError"]


def test_nobody_there_is_a_failure() -> None:
    async def run() -> Tally:
        client = GatewayClient(["http://127.0.0.1:9"], Tally(), 1)
        await client.post_all("predict", calls(1), 200)
        return client.tally

    assert asyncio.run(run()).failed == 1


def test_an_answer_without_length_is_a_failure() -> None:
    tally, bodies, _ = post(calls(1), lambda _: b"HTTP/1.1 200 OK\r\n\r\n")
    assert (tally.failed, bodies) == (1, [])
