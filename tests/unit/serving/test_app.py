"""What the application sheds, and what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.serving import app as app_module
from modelyard.serving.app import App
from modelyard.serving.control import Control
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import Metrics
from modelyard.serving.online import OnlineStore

pytestmark = pytest.mark.anyio
TOKEN = b"a-token-for-tests-only"
PREDICT, FEEDBACK = "/v1/models/m/predict", "/v1/models/m/feedback"


class Asked:
    """One request; its body is given, or never comes."""

    def __init__(self, method: str, path: str, body: bytes | None = b"") -> None:
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"authorization", b"Bearer " + TOKEN)],
        }
        self._body, self.status, self.answer = body, 0, b""

    async def receive(self) -> dict[str, Any]:
        if self._body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self._body}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.answer += message.get("body", b"")

    async def by(self, app: App) -> int:
        await app(self.scope, self.receive, self.send)
        return self.status


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    log = PredictionLog(tmp_path / "log", "gateway-1")
    control = Control("gateway-1", tmp_path / "state", log, OnlineStore(None, lambda *_: None))
    control.served = {"m": control._one("m")}
    yield App(control, log, Metrics(control, log), sha256(TOKEN).digest(), most=1)
    await log.close()


async def test_past_its_capacity_it_still_tells_its_health_and_obeys(app: App) -> None:
    waiting = asyncio.create_task(Asked("POST", PREDICT, None).by(app))
    await asyncio.sleep(0)
    assert [await Asked("POST", path).by(app) for path in (PREDICT, FEEDBACK)] == [503, 503]
    assert [await Asked("GET", path).by(app) for path in ("/healthz", "/readyz")] == [200, 200]
    assert await Asked("PUT", "/admin/v1/models/m/route", b"{").by(app) == 422
    waiting.cancel()


async def test_an_admin_call_under_way_takes_nobodys_place(app: App) -> None:
    waiting = asyncio.create_task(Asked("PUT", "/admin/v1/models/m/route", None).by(app))
    await asyncio.sleep(0)
    assert await Asked("POST", FEEDBACK, b"{").by(app) == 400
    waiting.cancel()


async def test_a_body_that_does_not_come_is_given_up(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BODY_S", 0.01)
    slow = Asked("POST", PREDICT, None)
    assert await asyncio.wait_for(slow.by(app), 5) == 408
    assert msgspec.json.decode(slow.answer)["error"]["code"] == "body_too_slow"
    assert await Asked("POST", FEEDBACK, b"{").by(app) == 400  # its place is free again
