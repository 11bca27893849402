"""The real gateway process: heads that are too much, ids that clients give, probes that are none of theirs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fixtures.bundles import MODEL, ROW, write_bundle_of
from fixtures.gateways import TOKEN, Gateway, running

from modelyard.adapters.http_edge import HttpEdge
from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.core.probes import HEADER, probe_token
from modelyard.ports.fleet import Route

PATH = f"/v1/models/{MODEL}/predict"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("edges")
    with running(folder / "home", "gateway-1", "--head-seconds", "1") as started:
        arm = write_bundle_of(folder / "bundle")[1]
        assert started.route(Route(model=MODEL, champion=arm), 1).status_code == 200
        yield started


def user(gateway: Gateway, *, headers: dict[str, str] | None = None, **body: object) -> httpx.Response:
    """One who has no token."""
    return httpx.post(gateway.url + PATH, json={"rows": [ROW]} | body, headers=headers)


def said(gateway: Gateway, *pieces: bytes) -> bytes:
    """All that comes back until the replica closes the connection."""
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as talk:
        for piece in pieces:
            talk.sendall(piece)
        found = b""
        while more := talk.recv(65536):
            found += more
        return found


def test_a_head_that_is_too_much_is_told_so(gateway: Gateway) -> None:
    assert user(gateway, headers={"x-long": "y" * 10_000}).status_code == 200
    for headers in ({"x-long": "y" * 200_000}, {f"x-{n}": "1" for n in range(200)}):
        refused = user(gateway, headers=headers)
        assert refused.status_code == 431
        assert refused.json()["error"]["accepted"] in (16_384, 100)


def test_a_head_that_comes_slowly_holds_no_connection(gateway: Gateway) -> None:
    """Many connections that never finish their head are closed with 408, and users are answered meanwhile."""
    answers: list[bytes] = []
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-slow: ".encode()
    threads = [threading.Thread(target=lambda: answers.append(said(gateway, head))) for _ in range(30)]
    for thread in threads:
        thread.start()
    assert user(gateway).status_code == 200
    for thread in threads:
        thread.join()
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 408 Request Timeout"}
    assert b"head_too_slow" in answers[0]
    assert said(gateway) == b""  # nor does one that says nothing at all


def test_a_clients_id_is_the_requests_id(gateway: Gateway) -> None:
    # One row goes the quick way, two the careful one.
    for number, rows in enumerate(([ROW], [ROW, ROW])):
        given = f"trace-{number}:a.b_c"
        answer = user(gateway, headers={"X-Request-ID": given}, rows=rows)
        assert answer.headers["X-Request-ID"] == given
        assert answer.json()["request_id"] == given
    assert [p["request_id"] for p in answer.json()["predictions"]] == [f"{given}.0", f"{given}.1"]
    without = user(gateway)
    assert "X-Request-ID" not in without.headers
    assert without.json()["request_id"]
    for bad in ("a b", "x" * 129, 'quote"', "semi;colon"):
        refused = user(gateway, headers={"X-Request-ID": bad})
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "invalid_request_id"


def test_only_the_platform_probes(gateway: Gateway, tmp_path: Path) -> None:
    before = gateway.state(MODEL)["counts"]["champion"]["rows"]
    for headers in ({}, {"authorization": "Bearer wrong"}, {HEADER: "wrong"}, {HEADER: TOKEN}):
        refused = user(gateway, headers=headers, probe=True)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "probe_refused"
    # By the admin token (the fleet, directly), and by the one derived from it (through the edge).
    assert gateway.predict(MODEL, rows=[ROW], probe=True).status_code == 200
    edge = HttpEdge(gateway.url, gateway.home / "token")
    assert edge.predict(MODEL, {"rows": [ROW], "probe": True})["version"] == 1
    # What goes through the edge opens nothing else.
    admin = f"{gateway.url}/admin/v1/models/{MODEL}/state"
    assert httpx.get(admin, headers={"authorization": f"Bearer {probe_token(TOKEN)}"}).status_code == 401
    assert gateway.state(MODEL)["counts"]["champion"]["rows"] == before
    assert user(gateway, probe=False).status_code == 200
    assert gateway.state(MODEL)["counts"]["champion"]["rows"] == before + 1


def test_rows_that_share_a_given_id_are_all_in_the_log_and_a_repeated_one_is_once(tmp_path: Path) -> None:
    arm = write_bundle_of(tmp_path / "bundle")[1]
    with running(tmp_path / "home") as gateway:
        gateway.route(Route(model=MODEL, champion=arm), 1)
        for key in ("A", "B", "A"):  # a page that asks twice under one id, and the edge's second try of the first
            user(gateway, headers={"X-Request-ID": "page-1"}, rows=[ROW | {"flight": key}])
        assert gateway.stop() == 0
    frame = ParquetPredictions(tmp_path / "home" / "predictions").rollout(MODEL, "")
    assert sorted(frame["key"]) == ["A", "B"]
