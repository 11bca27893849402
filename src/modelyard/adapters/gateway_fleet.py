"""The gateway's replicas over HTTP: ``ports.fleet.Fleet``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx

from modelyard.core.errors import Conflict, Unavailable
from modelyard.ports.fleet import ReplicaState, Route

T = TypeVar("T")
SURVEY_S = 5.0
"""A replica that does not say its state within this is taken for lost: nothing has to be loaded for it."""


class GatewayFleet:
    """All replicas at once, each in a thread; what one says does not keep the others from being told.

    ``timeout`` bounds one call; loading and warming up a bundle is part of it.
    """

    def __init__(self, urls: Sequence[str], token_file: str | Path, *, timeout: float = 60.0) -> None:
        self._urls, self._token_file, self._timeout = tuple(urls), Path(token_file), timeout

    def apply(self, route: Route, generation: int) -> dict[str, ReplicaState]:
        """Push the route; every replica is tried before a failure is raised."""
        body = {"route": route.to_dict(), "generation": generation}
        path = f"/admin/v1/models/{route.model}/route"
        return self._states(lambda client: client.put(path, json=body))

    def state(self, model: str) -> dict[str, ReplicaState]:
        """What every replica says now."""
        return self._states(lambda client: client.get(f"/admin/v1/models/{model}/state"))

    def predict(self, model: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask every replica the same question."""
        return self._all(lambda client: _accepted(client.post(f"/v1/models/{model}/predict", json=body)))

    def probe(self, model: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask every replica's challenger."""
        path = f"/admin/v1/models/{model}/probe"
        return self._all(lambda client: _accepted(client.post(path, json={"rows": rows})))

    def survey(self, model: str) -> tuple[dict[str, ReplicaState], tuple[str, ...]]:
        """What those say that answer, and what was wrong with the others."""
        path = f"/admin/v1/models/{model}/state"
        ask = lambda client: ReplicaState.model_validate(_accepted(client.get(path)))  # noqa: E731
        answers = self._each(ask, min(self._timeout, SURVEY_S))
        states = {a.replica: a for a in answers if not isinstance(a, Exception)}
        return states, tuple(str(a) for a in answers if isinstance(a, Exception))

    def _states(self, ask: Callable[[httpx.Client], httpx.Response]) -> dict[str, ReplicaState]:
        states = self._all(lambda client: ReplicaState.model_validate(_accepted(ask(client))))
        return {state.replica: state for state in states}

    def _each(self, ask: Callable[[httpx.Client], T], timeout: float) -> list[T | Exception]:
        token = self._token_file.read_text(encoding="utf-8").strip()

        def one(url: str) -> T | Exception:
            headers = {"authorization": f"Bearer {token}"}
            try:
                with httpx.Client(base_url=url, timeout=timeout, headers=headers) as client:
                    return ask(client)
            except (httpx.HTTPError, Conflict, Unavailable) as error:
                return type(error)(f"{url}: {error}") if isinstance(error, Conflict) else Unavailable(f"{url}: {error}")

        with ThreadPoolExecutor(len(self._urls)) as pool:
            return list(pool.map(one, self._urls))

    def _all(self, ask: Callable[[httpx.Client], T]) -> list[T]:
        answers = self._each(ask, self._timeout)
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if failed:
            # A replica that refuses weighs more than one that is silent: trying again will not help there.
            first = next((f for f in failed if isinstance(f, Conflict)), failed[0])
            raise type(first)("; ".join(str(f) for f in failed))
        return [answer for answer in answers if not isinstance(answer, Exception)]


def _accepted(response: httpx.Response) -> dict[str, Any]:
    """The body of an accepted call. 409 and 422 are refusals; everything else unexpected may pass by itself."""
    if response.status_code in (409, 422):
        raise Conflict(_message(response))
    if response.status_code >= 400:
        raise Unavailable(_message(response))
    body: dict[str, Any] = response.json()
    return body


def _message(response: httpx.Response) -> str:
    try:
        text = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        text = response.text[:200]
    return f"{response.request.method} {response.request.url.path} answered {response.status_code}: {text}"
