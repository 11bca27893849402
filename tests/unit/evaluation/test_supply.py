"""Licences as packages state them, and advisories from a service that is there, is odd, or is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from modelyard.evaluation.supply import installed_licences, licence_list, measure_advisories, measure_licences

RELEASE = "sha256:" + "a" * 64
PACKAGES = ["flask==0.12", "numpy==2.4.6"]


@contextmanager
def service(answer: Any, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives one answer; and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            asked.append((self.path, json.loads(self.rfile.read(length))))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()


def test_advisories_are_counted_and_named() -> None:
    found = {"results": [{"vulns": [{"id": "PYSEC-2018-66"}, {"id": "GHSA-5wv5"}]}, {}]}
    with service(found) as (address, asked):
        measured = measure_advisories(PACKAGES, address, RELEASE)
    assert (measured.value, measured.n) == (2, 2)
    assert measured.evidence == "flask==0.12: PYSEC-2018-66, GHSA-5wv5"
    [(path, body)] = asked
    assert path == "/v1/querybatch"
    assert body["queries"][0] == {"package": {"name": "flask", "ecosystem": "PyPI"}, "version": "0.12"}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"results": [{}]}, 200),  # one package is not answered for
        ({"results": [{}, {"vulns": [{"name": "no id"}]}]}, 200),
        ({"results": [{}, 7]}, 200),
        ({}, 200),
        ([], 200),
        (b"<html>", 200),
        ({"results": [{}, {}]}, 503),
    ],
)
def test_an_odd_answer_is_no_evidence(answer: Any, status: int) -> None:
    with service(answer, status) as (address, _):
        measured = measure_advisories(PACKAGES, address, RELEASE)
    assert measured.value is None
    assert "gave no answer that can be used" in measured.why


def test_a_service_that_is_not_there_is_no_evidence() -> None:
    assert measure_advisories(PACKAGES, "http://127.0.0.1:1", RELEASE).value is None
    assert "MODELYARD_ADVISORIES_URL" in measure_advisories(PACKAGES, "", RELEASE).why


def test_licences_are_denied_by_name_unless_there_is_a_choice() -> None:
    told = {"a": "MIT", "b": "AGPL-3.0-only", "c": "AGPL-3.0 OR MIT", "d": "", "e": "GNU Affero (AGPLv3)", "f": "BSD"}
    unnamed, denied = measure_licences(told, RELEASE)
    assert (unnamed.value, unnamed.evidence) == (1, "d")
    assert (denied.value, denied.n) == (2, 6)
    assert denied.evidence == "b (AGPL-3.0-only), e (GNU Affero (AGPLv3))"
    assert "d: names no licence\n" in licence_list(told)


def test_what_is_installed_here_says_so() -> None:
    found = installed_licences()
    assert "Apache" in found["msgspec"] or "BSD" in found["msgspec"]
    assert len(found) > 50
