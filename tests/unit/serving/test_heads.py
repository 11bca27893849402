"""The head of a request: how large, how many headers, how long; and the id that it may bring."""

from __future__ import annotations

import asyncio

import pytest
from unit.serving.test_protocol import Talk, post

from modelyard.serving import heads
from modelyard.serving.errors import Refusal
from modelyard.serving.ids import request_id

pytestmark = pytest.mark.anyio
MANY = b"".join(b"x-%d: 1\r\n" % n for n in range(heads.MOST_HEADERS + 1))
LONG = b"x: " + b"y" * heads.MOST_HEAD_BYTES + b"\r\n"


@pytest.mark.parametrize(("headers", "code"), [(MANY, b"too_many_headers"), (LONG, b"head_too_large")])
@pytest.mark.parametrize("path", [b"/hot", b"/cold"])
async def test_a_head_that_is_too_much_is_refused(headers: bytes, code: bytes, path: bytes) -> None:
    talk = Talk()
    await talk.say(post(path=path, headers=headers))
    assert talk.wire.written.startswith(b"HTTP/1.1 431 ")
    assert code in talk.wire.written
    assert talk.wire.closed
    assert talk.taker.bodies == []


async def test_a_head_is_measured_over_all_of_its_reads() -> None:
    talk = Talk()
    await talk.say(b"POST /hot HTTP/1.1\r\nhost: x\r\n", *[b"x: " + b"y" * 1000 + b"\r\n"] * 10)
    assert talk.wire.written == b""
    await talk.say(*[b"y" * 1000] * 10)
    assert b" 431 " in talk.wire.written
    await talk.say(b"\r\n\r\n")  # what still comes is ignored
    assert talk.wire.written.count(b"HTTP/1.1") == 1


async def test_a_large_body_is_no_large_head() -> None:
    talk = Talk()
    body = b"y" * 3 * heads.MOST_HEAD_BYTES
    await talk.say(post(body) + b"POST /hot HTTP/1.1\r\n")
    assert talk.taker.bodies == [body]
    talk.taker.replies.pop()(200, b"[]")
    assert talk.wire.bodies == [b"[]"]


async def test_a_head_that_does_not_come_is_given_up() -> None:
    slow, silent, fine, busy = (Talk(head_s=0.02) for _ in range(4))
    await slow.say(b"POST /hot HTTP/1.1\r\n")
    await fine.say(post())
    await busy.say(post() + b"POST /hot HTTP/1.1\r\n")
    for _ in range(20):
        await asyncio.sleep(0.01)
        await slow.say(b"x" if not slow.wire.closed else b"")  # each byte in its time does not help
    assert slow.wire.written.startswith(b"HTTP/1.1 408 ")
    assert b"head_too_slow" in slow.wire.written
    assert silent.wire.closed
    assert silent.wire.written == b""
    assert not fine.wire.closed
    assert busy.wire.written == b""  # nothing goes out before the answer that is under way
    busy.taker.replies.pop()(200, b"[]")
    assert busy.wire.bodies == [b"[]"]


async def test_a_limit_behind_an_answer_under_way_waits_for_it() -> None:
    talk = Talk()
    await talk.say(post(b"1"))
    await talk.say(post(b"2", headers=LONG))
    assert talk.wire.written == b""
    talk.taker.replies.pop()(200, b"[]")
    assert talk.wire.bodies == [b"[]"]
    assert talk.wire.closed


async def test_a_given_id_goes_along_and_comes_back() -> None:
    talk = Talk()
    await talk.say(post(headers=b"X-Request-ID: a.b:c_d-1\r\n"))
    assert talk.taker.ids == ["a.b:c_d-1"]
    talk.taker.replies.pop()(200, b"[]")
    assert b"\r\nx-request-id: a.b:c_d-1\r\n" in talk.wire.written
    await talk.say(post())
    assert talk.taker.ids == ["a.b:c_d-1", ""]
    talk.taker.replies.pop()(200, b"[]")
    assert talk.wire.written.count(b"x-request-id") == 1


@pytest.mark.parametrize("given", [b"a b", b"", b"x" * 129, b'"', "é".encode()])
async def test_an_id_that_is_not_safe_is_left_to_the_careful_way_which_refuses_it(given: bytes) -> None:
    talk = Talk()
    await talk.say(post(headers=b"X-Request-ID: %b\r\n" % given))
    assert talk.taker.ids == []
    with pytest.raises(Refusal, match="X-Request-ID") as refused:
        request_id([(b"host", b"x"), (b"x-request-id", given)])
    assert refused.value.status == 400
    assert "128 letters" in refused.value.detail["accepted"]


async def test_two_ids_are_refused() -> None:
    talk = Talk()
    await talk.say(post(headers=b"X-Request-ID: a\r\nx-request-id: b\r\n"))
    assert talk.taker.ids == []
    with pytest.raises(Refusal):
        request_id([(b"x-request-id", b"a"), (b"x-request-id", b"b")])


async def test_a_head_that_begins_in_the_read_of_another_request_is_measured_too() -> None:
    for path in (b"/hot", b"/cold"):
        talk, long = Talk(), post(path=path, headers=LONG)
        await talk.say(post() + long[:-6], long[-6:])
        talk.taker.replies.pop(0)(200, b"[]")
        await asyncio.sleep(0)
        assert talk.taker.bodies == [b"{}"]
        assert talk.wire.bodies == [b"[]"]
        assert talk.wire.closed


@pytest.mark.parametrize("path", [b"/hot", b"/cold"])
async def test_trailers_are_read_and_not_kept(path: bytes) -> None:
    """They would be headers that nobody has limited, and that no edge has looked at."""
    talk = Talk()
    await talk.say(b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" % path)
    kept = len(talk.connection.headers)
    await talk.say(*[b"authorization: Bearer %d\r\n" % n for n in range(1000)])
    assert len(talk.connection.headers) == kept
    await talk.say(b"\r\n")
    assert talk.wire.bodies == [b"asgi POST %b {}" % path]
    await talk.say(post(headers=b"X-Request-ID: behind\r\n"))
    assert talk.taker.ids[-1] == "behind"
