"""Limits of a request's head on the replica's own port: how large, how many headers, how long it may take to arrive.

The edge has limits of its own; these hold for whoever reaches the replica past it. A plain request, whose head comes in
one read, pays for two comparisons and sets no timer.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelyard.serving.errors import Refusal

MOST_HEAD_BYTES = 16_384
"""Request line and headers together."""
MOST_HEADERS = 100
HEAD_S = 10.0
"""The longest from a head's first byte to its end, and from connecting to the first byte."""
LINGER_S = 1.0
"""How long a refused connection is read on (and ignored), so that its client gets to read why before it is reset."""
_HEAD = b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class HeadLimits(HttpToolsProtocol):
    """Uvicorn's connection with limits on the head. A subclass calls ``begin_head`` and ``end_head``."""

    def __init__(self, *args: Any, head_s: float = HEAD_S, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_s = head_s
        self._read = self._head = self._number = 0
        self._in_head = self._in_message = self._in_parts = self._refused = False
        self._refusal: Refusal | None = None
        self._late: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The client has some seconds to begin."""
        super().connection_made(transport)
        self._late = self.loop.call_later(self._head_s, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; a head that is not whole after this read is measured and timed."""
        if self._refused:
            return
        self._read = len(data)
        # A read that ends one message and begins the next is not counted: its head's part of it is not known.
        only = self._number if self._in_message else self._number + 1
        if self._late is not None and not self._in_head:
            self._stop_timer()
        super().data_received(data)
        if self._in_head and not self._refused:
            self._in_parts = True
            self._head += len(data) if self._number == only else 0
            if self._head > MOST_HEAD_BYTES:
                self.refuse(_too_large())
            elif self._late is None:
                self._late = self.loop.call_later(self._head_s, self._too_late)

    def begin_head(self) -> None:
        """A request line begins."""
        self._number += 1
        self._head, self._in_head, self._in_message, self._in_parts = 0, True, True, False

    def end_head(self) -> None:
        """The head is whole. Raises ``Refusal`` (which ends the parsing) when it is too much."""
        self._in_head = False
        if self._late is not None:
            self._stop_timer()
        if len(self.headers) > MOST_HEADERS:
            self._refusal = _too_many(len(self.headers))
            raise self._refusal
        if (self._in_parts or self._read > MOST_HEAD_BYTES) and self._size() > MOST_HEAD_BYTES:
            self._refusal = _too_large()
            raise self._refusal

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers when parsing ends early: here because of a limit, or because it is no HTTP."""
        self.refuse(self._refusal or Refusal(400, "malformed_http", msg))

    def refuse(self, refusal: Refusal) -> None:
        """Answer so, read no more requests, and close. Behind answers under way: end with these."""
        self._refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        body = msgspec.json.encode(refusal.body())
        self.transport.write(_HEAD % (STATUS_LINE[refusal.status], len(body), body))
        if not self.transport.can_write_eof():
            self._close()
            return
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self._close)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _too_late(self) -> None:
        self._late = None
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer is under way, and what comes behind it may not even be read meanwhile.
            self._late = self.loop.call_later(self._head_s, self._too_late)
        elif self._in_head:
            self.refuse(Refusal(408, "head_too_slow", f"request line and headers arrive within {self._head_s:g} s"))
        else:  # nobody asked for anything
            self._close()

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop_timer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _too_large() -> Refusal:
    message = f"request line and headers have at most {MOST_HEAD_BYTES} bytes"
    return Refusal(431, "head_too_large", message, accepted=MOST_HEAD_BYTES)


def _too_many(number: int) -> Refusal:
    message = f"a request has at most {MOST_HEADERS} headers, not {number}"
    return Refusal(431, "too_many_headers", message, value=number, accepted=MOST_HEADERS)
