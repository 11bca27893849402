"""The shipped edge before real replicas that crash, hang and drain, and before ones that answer as they are told."""

from __future__ import annotations

import re
import signal
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from fixtures.bundles import MODEL, ROW, write_bundle_of
from fixtures.edges import Edge, Users, edge_before
from fixtures.gateways import TOKEN, Gateway, running

from modelyard.ports.fleet import Route

PREDICT = f"/v1/models/{MODEL}/predict"
STATE = f"/admin/v1/models/{MODEL}/state"
BODY = {"rows": [ROW]}
ENOUGH = 25


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    folder = tmp_path_factory.mktemp("edge")
    _, arm = write_bundle_of(folder / "bundle")
    with ExitStack() as stack:
        gateways = [stack.enter_context(running(folder / "home", f"gateway-{n}")) for n in (1, 2)]
        for gateway in gateways:
            gateway.route(Route(model=MODEL, champion=arm), 1).raise_for_status()
        yield gateways


@pytest.fixture(scope="module")
def edge(replicas: list[Gateway], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge_before(tmp_path_factory.mktemp("haproxy"), [g.url for g in replicas]) as started:
        yield started


def test_what_the_outside_may_ask(edge: Edge) -> None:
    with httpx.Client(base_url=edge.url, headers={"authorization": f"Bearer {TOKEN}"}) as outside:
        assert outside.post(PREDICT, json=BODY).json()["predictions"][0]["version"] == 1
        feedback = {"rows": [{"key": "k", "label": 1, "known_at": "2026-01-01T00:00:00Z"}]}
        assert outside.post(PREDICT.replace("predict", "feedback"), json=feedback).status_code == 202
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
            assert outside.get(path).status_code == 200, path
        for path in (STATE, "/%61dmin" + STATE.removeprefix("/admin"), "/" + STATE, "/x/.." + STATE, "/metrics"):
            refused = outside.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_such_route"), path
        assert outside.put(STATE.replace("state", "route"), json={}).status_code == 403


def test_large_bodies_end_at_the_edge(edge: Edge, replicas: list[Gateway]) -> None:
    row = {**ROW, "flight": "x" * 1000}
    whole = {"rows": [row] * 900}  # nearly 1 MiB, far beyond what the edge keeps of a request
    assert len(httpx.post(edge.url + PREDICT, json=whole).json()["predictions"]) == 900
    refused = httpx.post(edge.url + PREDICT, content=b" " * (1 << 20) + b"{}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


def test_ids_are_kept_or_given_and_no_body_is_logged(edge: Edge) -> None:
    def asked(**headers: str) -> str:
        return httpx.post(edge.url + PREDICT, json={"rows": [{**ROW, "flight": "SECRET9"}]}, headers=headers).headers[
            "x-request-id"
        ]

    assert asked(**{"X-Request-ID": "mine-17"}) == "mine-17"
    for given in ({}, {"X-Request-ID": 'a"b c'}, {"X-Request-ID": "y" * 129}):
        assert re.fullmatch(r"[0-9a-f-]{36}", asked(**given)), given
    edge.wait_for(200)
    logged = edge.log.read_text()
    assert f'mine-17 "POST {PREDICT} HTTP/1.1" 200' in logged
    assert "SECRET9" not in logged
    assert TOKEN not in logged


def crash(gateway: Gateway) -> Callable[[], object]:
    gateway.kill()
    return gateway.start


def hang(gateway: Gateway) -> Callable[[], object]:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    return lambda: gateway.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]


def drain(gateway: Gateway) -> Callable[[], object]:
    assert gateway.stop() == 0
    return gateway.start


@pytest.mark.parametrize("fault", [crash, hang, drain])
def test_no_user_notices_that_a_replica_is_lost(
    edge: Edge, replicas: list[Gateway], fault: Callable[[Gateway], Callable[[], object]]
) -> None:
    edge.wait_for_all(len(replicas))
    with Users(edge.url, PREDICT, BODY) as users:
        users.wait_for_more(ENOUGH)
        mend = fault(replicas[1])
        users.wait_for_more(ENOUGH)
        mend()
        edge.wait_for_all(len(replicas))  # it is taken back
        users.wait_for_more(ENOUGH)
    assert set(users.answers) == {"200"}, users.answers


class Told:
    """A replica that says it is ready and answers everything else with given bytes; no bytes: it closes at once."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[bytes] = []
        told = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                text = b""
                while b"\r\n\r\n" not in text and (more := self.request.recv(65_536)):
                    text += more
                if text.startswith(b"GET /readyz"):
                    self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                elif text:
                    told.asked.append(text)
                    self.request.sendall(answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def response(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()


@contextmanager
def told(folder: Path, *answers: bytes) -> Iterator[tuple[Edge, list[Told]]]:
    replicas = [Told(answer) for answer in answers]
    try:
        with edge_before(folder, [r.url for r in replicas]) as started:
            yield started, replicas
    finally:
        for replica in replicas:
            replica.close()


@pytest.mark.parametrize("answer", [b"", response("503 Draining")], ids=["closed", "draining"])
def test_what_was_not_answered_is_asked_of_another(tmp_path: Path, answer: bytes) -> None:
    with told(tmp_path, answer, response("200 OK")) as (edge, (bad, good)):
        statuses = [httpx.post(edge.url + PREDICT, json=BODY).status_code for _ in range(6)]
        assert statuses == [200] * 6
        assert bad.asked
        assert len(good.asked) == 6
        assert all(b"\r\nx-request-id: " in text.lower() for text in good.asked)


@pytest.mark.parametrize("status", ["500 Failed", "422 Unprocessable"])
def test_what_was_answered_is_never_asked_again(tmp_path: Path, status: str) -> None:
    with told(tmp_path, response(status), response(status)) as (edge, replicas):
        assert httpx.post(edge.url + PREDICT, json=BODY).status_code == int(status[:3])
        assert sum(len(r.asked) for r in replicas) == 1


def test_overload_is_passed_on_after_a_bounded_number_of_tries(tmp_path: Path) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    with told(tmp_path, busy, busy) as (edge, replicas):
        answer = httpx.post(edge.url + PREDICT, json=BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        assert sum(len(r.asked) for r in replicas) == 3


def test_no_replica_at_all_is_said_in_words(tmp_path: Path) -> None:
    with told(tmp_path, b"", b"") as (edge, replicas):
        for replica in replicas:
            replica.close()
        edge.wait_for(503)
        answer = httpx.post(edge.url + PREDICT, json=BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
