"""The real gateway against its own OpenAPI description, and against bodies that nobody describes.

Whatever is sent: an answer in time, never a 5xx, and an error is always JSON of the one form.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import TOKEN, Gateway, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from modelyard.ports.fleet import Route

PREDICT, FEEDBACK = (f"/v1/models/{MODEL}/{verb}" for verb in ("predict", "feedback"))
ROUTE, PROBE, STATE = (f"/admin/v1/models/{MODEL}/{verb}" for verb in ("route", "probe", "state"))
BODIES = [("POST", PREDICT), ("POST", FEEDBACK), ("PUT", ROUTE), ("POST", PROBE)]
SOME = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


UNDESCRIBED = [ignored_auth, positive_data_acceptance]
"""Whether the token is asked for has a test of its own (test_gateway.py); moments have bounds that JSON Schema has no
word for, and which bundles there are no schema knows."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    yield from routed(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One whose routes may be changed."""
    yield from routed(tmp_path_factory.mktemp("spare"))


def routed(folder: Path) -> Iterator[Gateway]:
    """A replica with a champion and a challenger."""
    (_, old), (_, new) = (write_bundle_of(folder / str(v), version=v, onnx=graph(bias=v / 10)) for v in (1, 2))
    with running(folder / "home") as started:
        route = Route(model=MODEL, champion=old, challenger=new, weight=5000, salt="s", rollout="r", paired=True)
        started.route(route, 1).raise_for_status()
        yield started


def sound(answer: httpx.Response) -> None:
    """What every answer is."""
    assert answer.status_code < 500, f"{answer.status_code}: {answer.text[:500]}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"]


def test_every_operation_keeps_to_its_description(spare: Gateway) -> None:
    """Requests that the description allows, and requests that it forbids, made from it."""
    described = spare.http.get("/openapi.json").json()
    assert {PREDICT, FEEDBACK, "/healthz", "/readyz", "/metrics", ROUTE, PROBE, STATE} <= set(described["paths"])
    schema = schemathesis.openapi.from_dict(described)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == len([verb for path in described["paths"].values() for verb in path])
    # A route that is no champion's takes the model off: it comes last.
    for operation in sorted(operations, key=lambda o: o.method.upper() == "PUT"):
        # Where nothing can be given, nothing wrong can be.
        for mode in GenerationMode if operation.body else (GenerationMode.POSITIVE,):

            @given(case=operation.as_strategy(generation_mode=mode))
            @SOME
            def keeps(case: schemathesis.Case) -> None:
                answer = case.call(base_url=spare.url, headers={"authorization": f"Bearer {TOKEN}"})
                assert answer.status_code < 500
                if answer.status_code != 413:  # a refusal, which schemathesis does not take for one
                    case.validate_response(answer, excluded_checks=UNDESCRIBED)

            keeps()


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_bytes_of_any_kind_are_refused_in_words(gateway: Gateway, method: str, path: str) -> None:
    known = [json.dumps({"rows": [ROW]}).encode(), b'{"rows":[{}]}', b"{", b"[[[[", b'"\\ud800"']

    @given(
        body=st.binary(max_size=300) | st.sampled_from(known).flatmap(lambda b: st.binary(max_size=9).map(b.__add__))
    )
    @MANY
    def refused(body: bytes) -> None:
        sound(gateway.http.request(method, path, content=body))

    refused()


ODD = {
    "deep lists": b'{"rows":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"rows":[' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
    "deep and open": b"[" * 1_000_000,
    "huge number": b'{"rows":[{"flight":"a","distance":1e400}]}',
    "long number": b'{"rows":[{"flight":"a","distance":' + b"9" * 5000 + b"}]}",
    "whole and huge": b'{"rows":[{"flight":' + b"9" * 5000 + b',"distance":1}]}',
    "tiny number": b'{"rows":[{"flight":"a","distance":1e-400}]}',
    "minus zero": b'{"rows":[{"flight":"a","distance":-0}]}',
    "not a number": b'{"rows":[{"flight":"a","distance":NaN}]}',
    "infinity": b'{"rows":[{"flight":"a","distance":-Infinity}]}',
    "duplicate keys": b'{"rows":[],"rows":[{"flight":"a","flight":"b","distance":1,"distance":"x"}]}',
    "utf-16": '{"rows":[]}'.encode("utf-16"),
    "latin-1": '{"rows":[{"flight":"é"}]}'.encode("latin-1"),
    "lone surrogate": b'{"rows":[{"flight":"\\ud800","distance":1,"wind":1,"carrier":"UA"}]}',
    "lone surrogate as a category": b'{"rows":[{"flight":"a","distance":1,"wind":1,"carrier":"\\udfff"}]}',
    "nul": b'{"rows":[{"flight":"a\\u0000","distance":1,"wind":1,"carrier":"\\u0000"}]}',
    "byte order mark": b'\xef\xbb\xbf{"rows":[]}',
    "long key": b'{"rows":[{"flight":"' + b"x" * 900_000 + b'","distance":1,"wind":1,"carrier":"UA"}]}',
    "long field name": b'{"rows":[{"' + b"x" * 900_000 + b'":1}]}',
    "far event time": b'{"event_time":"9999-12-31T23:59:59.999999-23:59","rows":[{"flight":"a","distance":1}]}',
    "early event time": b'{"event_time":"0001-01-01T00:00:00+23:59","rows":[{"flight":"a","distance":1,"wind":1}]}',
    "far known_at": b'{"rows":[{"key":"a","label":1,"known_at":"9999-12-31T23:59:59-23:59"}]}',
    "label out of range": b'{"rows":[{"key":"a","label":1e308,"known_at":"2026-01-01T00:00:00Z"}]}',
    "a thousand and one": b'{"rows":[' + b",".join([b"{}"] * 1001) + b"]}",
    "huge generation": b'{"generation":' + b"9" * 400 + b',"route":{"model":"delays","champion":null}}',
    "null": b"null",
    "nothing": b"",
}


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("odd", ODD)
def test_odd_bodies_are_answered(gateway: Gateway, method: str, path: str, odd: str) -> None:
    sound(gateway.http.request(method, path, content=ODD[odd]))


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_the_body_counts_and_not_what_its_headers_say(gateway: Gateway, method: str, path: str) -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-7", "é".encode()):
        for coding in ("identity", "gzip", "br", "nonsense"):
            headers: Any = {"content-type": kind, "content-encoding": coding}
            sound(gateway.http.request(method, path, content=b'{"rows":[{"flight":"a"}]}', headers=headers))


def spoken(gateway: Gateway, *pieces: bytes) -> bytes:
    """What comes back for these bytes; the gateway closes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as line:
        for piece in pieces:
            line.sendall(piece)
        found = b""
        while more := line.recv(65_536):
            found += more
    return found


HEAD = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".encode()


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"content-length: abc\r\n\r\n{}",
        HEAD + b"content-length: -1\r\n\r\n{}",
        HEAD + b"content-length: " + b"9" * 40 + b"\r\n\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /v1/models/%00/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /v1/models/%ff%fe/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"BREW /v1/models/delays/predict HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"GET / HTTP/9.9\r\nhost: x\r\nconnection: close\r\n\r\n",
    ],
)
def test_broken_http_is_refused_and_harms_nobody(gateway: Gateway, request_: bytes) -> None:
    status = spoken(gateway, request_).split(b"\r\n", 1)[0]
    assert b" 5" not in status[:12], status
    assert gateway.predict(MODEL, rows=[ROW]).status_code == 200


def test_what_was_fuzzed_has_left_it_as_it_was(gateway: Gateway) -> None:
    noise = random.Random(1)  # noqa: S311  noise, not secrets
    for _ in range(200):
        body = bytearray(json.dumps({"rows": [ROW], "probe": True}).encode())
        for _ in range(noise.randint(1, 4)):
            body[noise.randrange(len(body))] = noise.randrange(256)
        sound(gateway.http.post(PREDICT, content=bytes(body)))
    state = gateway.state(MODEL)
    assert (state["generation"], state["weight"], state["tripped"]) == (1, 5000, "")
    assert gateway.predict(MODEL, rows=[ROW]).status_code == 200
