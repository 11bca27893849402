"""The connection: what is taken, what goes by ASGI, and that HTTP stays HTTP in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from modelyard.serving.heads import HEAD_S
from modelyard.serving.protocol import Connection

pytestmark = pytest.mark.anyio
HOT = b"/hot"


def post(body: bytes = b"{}", path: bytes = HOT, version: bytes = b"1.1", headers: bytes = b"") -> bytes:
    return b"POST %b HTTP/%b\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n%b" % (path, version, len(body), headers, body)


class Wire(asyncio.Transport):
    """The other end: what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed, self.paused = b"", False, False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def can_write_eof(self) -> bool:
        return False

    @property
    def bodies(self) -> list[bytes]:
        return [part.split(b"\r\n\r\n", 1)[1] for part in self.written.split(b"HTTP/1.1 ")[1:]]


class Taker:
    """Takes what does not say no; keeps the replies."""

    def __init__(self) -> None:
        self.replies: list[Callable[[int, bytes], None]] = []
        self.bodies: list[bytes] = []
        self.ids: list[str] = []

    def answers(self, target: bytes) -> bool:
        return target == HOT

    def take(self, target: bytes, body: bytes, reply: Callable[[int, bytes], None], request_id: str = "") -> bool:
        assert target == HOT
        self.ids.append(request_id)
        if body == b"no":
            return False
        self.bodies.append(body)
        self.replies.append(reply)
        return True


async def by_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with what it saw."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    seen = b"asgi %b %b %b" % (scope["method"].encode(), scope["path"].encode(), body)
    assert (b"host", b"x") in scope["headers"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(seen))]})
    await send({"type": "http.response.body", "body": seen})


class Talk:
    """One connection."""

    def __init__(self, keep_alive: float = 60.0, head_s: float = HEAD_S) -> None:
        self.taker, self.wire, self.state = Taker(), Wire(), ServerState()
        config = uvicorn.Config(by_asgi, timeout_keep_alive=keep_alive, access_log=False, log_config=None)  # type: ignore[arg-type]
        self.connection = Connection(self.taker, config=config, server_state=self.state, app_state={}, head_s=head_s)
        self.connection.connection_made(self.wire)

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_plain_request_is_taken_and_answered_in_its_time() -> None:
    talk = Talk()
    await talk.say(post(b'{"a":1}'))
    assert (talk.taker.bodies, talk.wire.written) == ([b'{"a":1}'], b"")
    talk.taker.replies.pop()(200, b"[1]")
    expected = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n[1]"
    assert talk.wire.written == expected
    await talk.say(post(b"[]"))
    talk.taker.replies.pop()(500, b"{}")
    assert talk.wire.written.startswith(expected + b"HTTP/1.1 500 Internal Server Error\r\n")
    assert (talk.state.total_requests, talk.state.tasks, talk.wire.closed) == (2, set(), False)


@pytest.mark.parametrize(
    ("request_", "seen"),
    [
        (post(b"no"), b"asgi POST /hot no"),
        (post(path=b"/cold"), b"asgi POST /cold {}"),
        (post(version=b"1.0"), b"asgi POST /hot {}"),
        (post(headers=b"connection: close\r\n"), b"asgi POST /hot {}"),
        (post(headers=b"expect: 100-continue\r\n"), b"asgi POST /hot {}"),
        (b"GET /hot HTTP/1.1\r\nhost: x\r\n\r\n", b"asgi GET /hot "),
    ],
)
async def test_everything_else_goes_by_asgi(request_: bytes, seen: bytes) -> None:
    talk = Talk()
    await talk.say(request_)
    assert talk.taker.bodies == []
    assert talk.wire.bodies[-1] == seen
    if not talk.wire.closed:  # and the connection is as good as new
        await talk.say(post())
        talk.taker.replies.pop()(200, b"[]")
        assert talk.wire.bodies[-1] == b"[]"


async def test_a_body_in_pieces_goes_by_asgi() -> None:
    whole = post(b'{"long": "body"}')
    for cut in (10, len(whole) - 16, len(whole) - 5):
        talk = Talk()
        await talk.say(whole[:cut], whole[cut:])
        said = talk.wire.bodies or talk.taker.bodies
        assert said in ([b'asgi POST /hot {"long": "body"}'], [b'{"long": "body"}'])
        assert bool(talk.taker.bodies) == (cut == 10)  # whole, but for its head


async def test_a_body_in_chunks_of_one_read_is_put_together() -> None:
    talk = Talk()
    head = b"POST /hot HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    await talk.say(head + b"2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n")
    assert talk.taker.bodies == [b"[1,2]"]


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    talk = Talk()
    await talk.say(post(b"1") + post(b"2") + post(b"3", path=b"/cold"))
    assert talk.taker.bodies == [b"1"]
    assert talk.wire.written == b""
    assert talk.wire.paused
    talk.taker.replies.pop()(200, b"one")
    await talk.say()
    assert talk.wire.bodies == [b"one", b"asgi POST /hot 2", b"asgi POST /cold 3"]
    await talk.say(post(b"4"))
    assert talk.taker.bodies == [b"1", b"4"]


async def test_a_drain_answers_what_is_under_way_and_closes() -> None:
    talk = Talk()
    await talk.say(post())
    talk.connection.shutdown()
    assert not talk.wire.closed
    talk.taker.replies.pop()(200, b"[]")
    assert b"connection: close\r\n" in talk.wire.written
    assert talk.wire.closed
    idle = Talk()
    await idle.say(post())
    idle.taker.replies.pop()(200, b"[]")
    idle.connection.shutdown()
    assert idle.wire.closed


async def test_a_client_that_went_away_is_answered_to_nobody() -> None:
    talk = Talk()
    await talk.say(post())
    talk.connection.connection_lost(None)
    written = talk.wire.written
    talk.taker.replies.pop()(200, b"[]")
    assert talk.wire.written == written
    assert talk.connection not in talk.state.connections


async def test_nonsense_is_refused() -> None:
    for nonsense in (b"\x00\x01\r\n\r\n", post()[:-2] + b"{}POST", b"POST /hot HTTP/1.1\r\ncontent-length: x\r\n\r\n"):
        talk = Talk()
        await talk.say(nonsense)
        if talk.taker.replies:
            talk.taker.replies.pop()(200, b"[]")
            continue
        assert b"400 Bad Request" in talk.wire.written
        assert talk.wire.closed


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    talk = Talk(keep_alive=0.05)
    await talk.say(post())
    talk.taker.replies.pop()(200, b"[]")
    await talk.say(post())  # under way when the limit passes
    await asyncio.sleep(0.1)
    assert not talk.wire.closed
    talk.taker.replies.pop()(200, b"[]")
    await talk.say(post(path=b"/cold"))
    for _ in range(100):
        if talk.wire.closed:
            break
        await asyncio.sleep(0.02)
    assert talk.wire.closed
