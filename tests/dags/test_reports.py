"""The reports' pages: only for people who are logged in, and nothing outside their folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fastapi import Depends, HTTPException
from fastapi.testclient import TestClient

from .conftest import ROOT, Airflow


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "secret.html").write_text("secret")
    folder = tmp_path / "docs"
    (folder / "drift" / "m").mkdir(parents=True)
    (folder / "drift" / "m" / "a b.html").write_text("<h1>drift</h1>")
    (folder / "validation").mkdir()
    (folder / "validation" / "index.html").write_text("<h1>validation</h1>")
    (folder / "validation" / "data.pkl").write_text("x")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.html").write_text("x")
    (folder / "link.html").symlink_to(tmp_path / "secret.html")
    return folder


@pytest.fixture
def pages(docs: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    from modelyard_airflow import reports

    return TestClient(reports.application(docs, Depends(lambda: None)))


def test_shows_files_folders_and_indices(pages: TestClient) -> None:
    answer = pages.get("/drift/m/a%20b.html")
    assert (answer.status_code, answer.text) == (200, "<h1>drift</h1>")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert pages.get("/validation/").text == "<h1>validation</h1>"
    listing = pages.get("/drift/m").text
    assert 'href="/modelyard/reports/drift/m/a%20b.html"' in listing
    assert ".hidden" not in pages.get("/").text


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/..%2fsecret.html",
        "/%2e%2e/secret.html",
        "/drift/..%2f..%2fsecret.html",
        "/drift/%2e%2e%2f%2e%2e%2fsecret.html",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/link.html",
        "/.hidden/x.html",
        "/validation/data.pkl",
        "/nothing.html",
        "/a%00b.html",
        "/" + "x" * 5000,
    ],
)
def test_nothing_else_can_be_read(pages: TestClient, path: str) -> None:
    answer = pages.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_stranger_sees_nothing(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    from modelyard_airflow import reports

    def refuse() -> None:
        raise HTTPException(401)

    assert TestClient(reports.application(docs, Depends(refuse))).get("/validation/").status_code == 401


def test_airflows_own_server_asks_who_one_is(migrated: Airflow) -> None:
    program = """
import json
from fastapi.testclient import TestClient
from airflow.api_fastapi.app import create_app
client = TestClient(create_app(apps="core"))
print(json.dumps([client.get(p).status_code for p in ("/modelyard/reports/", "/modelyard/reports/x.html")]))
"""
    assert migrated.run(program) == [401, 401]
    assert "modelyard_airflow.tasks" not in sys.modules
