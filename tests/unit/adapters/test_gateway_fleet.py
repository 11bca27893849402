"""What the fleet makes of replicas that hang, dribble and answer nonsense. No deadline here is met by being quick."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.core.errors import Unavailable
from modelyard.ports.fleet import Route

A = "sha256:" + "a" * 64
ROUTE = Route(model="delays", champion=None)
FOR_EVER = 3600.0
"""A test that waited for this would never end: each deadline below is another one."""


def said(status: int, body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(data), data)


STATE = said(200, {"replica": "fine", "generation": 1, "champion": None, "challenger": None, "weight": 0})
ALIVE = said(200, {"status": "alive"})
Answer = Callable[[str, Any], None]


@contextmanager
def replica(answer: Answer) -> Iterator[str]:
    """A replica that does with a request line and its socket what it is told."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            text = b""
            while b"\r\n\r\n" not in text and (more := self.request.recv(65_536)):
                text += more
            answer(text.split(b"\r\n", 1)[0].decode(), self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def fine(line: str, socket: Any) -> None:
    socket.sendall(ALIVE if "/healthz" in line else STATE)


def hangs(line: str, socket: Any) -> None:
    while socket.recv(65_536):  # until the other side has had enough
        pass


def dribbles(line: str, socket: Any) -> None:
    """A byte now and then: every single wait is short, and the answer never comes."""
    socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    try:
        while True:
            socket.sendall(b" ")
            time.sleep(0.02)
    except OSError:
        pass


def nonsense(line: str, socket: Any) -> None:
    socket.sendall(said(200, ["no state at all"]))


@pytest.fixture
def fleet_of(tmp_path: Path) -> Iterator[Callable[..., GatewayFleet]]:
    (tmp_path / "token").write_text("a-token")
    with ExitStack() as stack:

        def made(*answers: Answer, timeout: float = FOR_EVER) -> GatewayFleet:
            urls = [stack.enter_context(replica(answer)) for answer in answers]
            return GatewayFleet(urls, tmp_path / "token", timeout=timeout, silence=0.3)

        yield made


@pytest.mark.parametrize("bad", [hangs, dribbles, nonsense])
def test_one_bad_replica_is_named_and_the_others_are_told(fleet_of: Callable[..., GatewayFleet], bad: Answer) -> None:
    told: list[str] = []

    def listens(line: str, socket: Any) -> None:
        told.append(line)
        fine(line, socket)

    fleet = fleet_of(listens, bad)
    states, silent = fleet.survey("delays")
    assert (sorted(states), len(silent)) == (["fine"], 1)
    for ask in (lambda: fleet.state("delays"), lambda: fleet.apply(ROUTE, 2)):
        with pytest.raises(Unavailable, match=silent[0].split()[0].rstrip(":")):
            ask()
    assert "PUT /admin/v1/models/delays/route HTTP/1.1" in told


def test_a_replica_that_loads_for_long_is_waited_for_as_long_as_it_is_alive(
    fleet_of: Callable[..., GatewayFleet],
) -> None:
    pulses = threading.Semaphore(0)

    def loads(line: str, socket: Any) -> None:
        if "/healthz" in line:
            pulses.release()
            socket.sendall(ALIVE)
        else:
            for _ in range(4):  # far longer than silence is borne
                pulses.acquire()
            socket.sendall(STATE)

    assert sorted(fleet_of(loads).apply(ROUTE, 2)) == ["fine"]


def test_a_replica_that_loads_for_ever_is_given_up(fleet_of: Callable[..., GatewayFleet]) -> None:
    def loads(line: str, socket: Any) -> None:
        if "/healthz" in line:
            socket.sendall(ALIVE)
        else:
            hangs(line, socket)

    with pytest.raises(Unavailable, match="in time"):
        fleet_of(loads, timeout=1.0).apply(ROUTE, 2)


def test_the_route_reaches_a_replica_that_hangs_so_that_it_wakes_up_to_the_newest(
    fleet_of: Callable[..., GatewayFleet],
) -> None:
    lines: list[str] = []

    def sleeps(line: str, socket: Any) -> None:
        lines.append(line)
        hangs(line, socket)

    with pytest.raises(Unavailable):
        fleet_of(sleeps).apply(ROUTE, 2)
    assert lines[0].startswith("PUT")
