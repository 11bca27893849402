"""The edge over HTTP: ``ports.fleet.Edge``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from modelyard.core.errors import Unavailable
from modelyard.core.probes import HEADER, probe_token


class HttpEdge:
    """What users reach. ``timeout`` exceeds the edge's own, within which it tries a second replica.

    ``token_file`` holds the admin token. It is not sent: a probe shows the token that is derived from it.
    """

    def __init__(self, url: str, token_file: str | Path, *, timeout: float = 15.0) -> None:
        self._url, self._token_file, self._timeout = url.rstrip("/"), Path(token_file), timeout

    def predict(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask as a user does; with the probe token, which a user does not have, where the question is a probe."""
        headers = {HEADER: self._probe_token()} if body.get("probe") else {}
        response = self._call(lambda client: client.post(f"/v1/models/{model}/predict", json=body, headers=headers))
        if response.status_code != httpx.codes.OK:
            raise Unavailable(f"{self._url}: the edge answered {response.status_code}: {response.text[:200]}")
        try:
            answer: dict[str, Any] = response.json()
        except ValueError as error:
            raise Unavailable(f"{self._url}: the edge did not answer JSON: {response.text[:200]}") from error
        return answer

    def admin_status(self, model: str) -> int:
        """Knock at the admin API, without a token."""
        return self._call(lambda client: client.get(f"/admin/v1/models/{model}/state")).status_code

    def _probe_token(self) -> str:
        return probe_token(self._token_file.read_text(encoding="utf-8").strip())

    def _call(self, ask: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        try:
            with httpx.Client(base_url=self._url, timeout=self._timeout) as client:
                return ask(client)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._url}: {error}") from error
