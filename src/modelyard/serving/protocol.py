"""The HTTP server's connection, with a short way for requests that are answered without a task.

Everything is uvicorn's: parsing, keep-alive, pipelining, drain, and ASGI for all that is not plain. A POST that has
arrived whole in one read, on a connection with nothing else under way, is offered to the application as bytes; where it
takes it, its callback writes the response. What ASGI costs a request (scope, task, events, messages) is more than
all of the rest.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from modelyard.serving.heads import HEAD_S, HeadLimits
from modelyard.serving.ids import HEADER, safe

_HEAD = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b"
_CLOSE = b"connection: close\r\n"
_RETRY = b"retry-after: 1\r\n"
"""With what could not be answered just now."""


class Taker(Protocol):
    """An application that can answer some requests without ASGI."""

    def answers(self, target: bytes) -> bool:
        """Whether ``take`` may be asked for this request target."""
        ...

    def take(self, target: bytes, body: bytes, reply: Callable[[int, bytes], None], request_id: str = "") -> bool:
        """True: ``reply`` will be called once, in a later turn of the loop. False: ask by ASGI.

        ``request_id`` is the client's own, where it sent one.
        """
        ...


def connection(taker: Taker, head_s: float = HEAD_S) -> Any:
    """What ``uvicorn.Config(http=...)`` wants; ``head_s`` is the longest that a request's head may take."""
    return partial(Connection, taker, head_s=head_s)


class _Taken:
    """A request that was taken: its reply, standing where uvicorn keeps the cycle of the request under way."""

    __slots__ = ("_connection", "disconnected", "given_id", "keep_alive", "message_event", "response_complete")

    def __init__(self, connection: Connection, given_id: bytes) -> None:
        self._connection, self.given_id = connection, given_id
        self.disconnected = self.response_complete = False
        self.keep_alive = True
        self.message_event = _NOBODY_WAITS

    def __call__(self, status: int, body: bytes) -> None:
        """Write the response."""
        self.response_complete = True
        if not self.disconnected:
            self._connection.write_response(status, body, self.given_id, keep_alive=self.keep_alive)


class _NobodyWaits:
    def set(self) -> None:
        """Uvicorn sets the event of a request whose client went away."""


_NOBODY_WAITS = _NobodyWaits()


class Connection(HeadLimits):
    """One connection."""

    def __init__(self, taker: Taker, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker = taker
        self._body: bytes | None = None
        self._given_id = b""
        self._taken: _Taken | None = None
        self._idle_since = 0.0
        self._idle_timer: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse; a body that has not arrived whole goes on by ASGI."""
        super().data_received(data)
        if self._body is not None:
            body, self._body = self._body, None
            if not (self._refused or self.transport.is_closing()):  # as after a malformed request
                self._by_asgi(body)

    def on_message_begin(self) -> None:
        """As uvicorn does, less the scope, which only ASGI needs."""
        self.url, self.headers, self.expect_100_continue, self._given_id = b"", [], False, b""
        self.begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn does; an id that the client gives the request is kept.

        A trailer is not: it comes behind the head, of which number and size are limited, and edges look at.
        """
        if not self._in_head:
            return
        name = name.lower()
        if name == HEADER:
            self._given_id = b" " if self._given_id or not value else value
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start to collect the body of a plain POST; hand anything else to ASGI."""
        self.end_head()
        cycle, parser = self.cycle, self.parser
        if (
            (cycle is None or cycle.response_complete)
            and self._taker.answers(self.url)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and (not self._given_id or safe(self._given_id))
        ):
            self._body = b""
        else:
            self._begin_asgi()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """The request is whole."""
        body, self._body, self._in_message = self._body, None, False
        if body is None:
            super().on_message_complete()
            return
        taken = _Taken(self, self._given_id)
        if self._taker.take(self.url, body, taken, self._given_id.decode()):
            self.cycle = self._taken = taken  # type: ignore[assignment]
        else:
            self._by_asgi(body)
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away; what was taken is answered all the same, to nobody."""
        if self._taken is not None:
            self._taken.disconnected = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def _begin_asgi(self) -> None:
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)  # the scope holds this very list
        super().on_headers_complete()

    def _by_asgi(self, body: bytes) -> None:
        self._begin_asgi()
        if body:
            super().on_body(body)

    def write_response(self, status: int, body: bytes, given_id: bytes, *, keep_alive: bool) -> None:
        """Answer the request that was taken; an id that the client gave goes back with the answer."""
        if self.transport.is_closing():
            return
        more = b"" if keep_alive else _CLOSE
        if status == 503:
            more += _RETRY
        if given_id:
            more += b"%b: %b\r\n" % (HEADER, given_id)
        self.transport.write(_HEAD % (STATUS_LINE[status], len(body), more, body))
        if not keep_alive:
            self.transport.close()
        if self.pipeline or not keep_alive:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle_since = self.loop.time()
            if self._idle_timer is None:
                self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """The keep-alive limit; one timer per connection that is looked at when due, not one per request."""
        self._idle_timer = None
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way or self._body is not None or self.timeout_keep_alive_task is not None:
            return  # the next response arms a timer again, or uvicorn has armed its own
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._close_if_idle)
        else:
            self.timeout_keep_alive_handler()
