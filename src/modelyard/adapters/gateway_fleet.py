"""The gateway's replicas over HTTP: ``ports.fleet.Fleet``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from ssl import SSLContext
from typing import Any, TypeVar

import httpx

from modelyard.core.errors import Conflict, Unavailable
from modelyard.ports.fleet import ReplicaState, Route

T = TypeVar("T")
Ask = Callable[[httpx.AsyncClient], Awaitable[T]]
SILENCE_S = 5.0
"""A replica that does not say within this how it is, is taken for lost: nothing has to be loaded for it."""
ANSWER_S = 10.0
"""The longest that a question about some rows may take."""
PULSE_S = 1.0
"""While a replica loads a version it is asked so often whether it is alive."""


class GatewayFleet:
    """All replicas at once, each with a deadline of its own; what one says does not keep the others from being told.

    ``timeout`` bounds the loading and warming up of a bundle, during which a replica still says that it is alive: one
    that is silent for ``silence`` is given up at once. So one that hangs costs a call some seconds, not ``timeout``.
    Not to be called from a running event loop.
    """

    def __init__(
        self, urls: Sequence[str], token_file: str | Path, *, timeout: float = 60.0, silence: float = SILENCE_S
    ) -> None:
        self._urls, self._token_file = tuple(urls), Path(token_file)
        self._timeout, self._silence = timeout, min(silence, timeout)

    def apply(self, route: Route, generation: int) -> dict[str, ReplicaState]:
        """Push the route; every replica is tried before a failure is raised."""
        body = {"route": route.to_dict(), "generation": generation}
        path = f"/admin/v1/models/{route.model}/route"
        return self._states(lambda client: self._while_alive(client, client.put(path, json=body)), self._timeout)

    def state(self, model: str) -> dict[str, ReplicaState]:
        """What every replica says now."""
        return self._states(lambda client: client.get(f"/admin/v1/models/{model}/state"), self._silence)

    def predict(self, model: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask every replica the same question."""
        return self._answers(f"/v1/models/{model}/predict", body)

    def probe(self, model: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask every replica's challenger."""
        return self._answers(f"/admin/v1/models/{model}/probe", {"rows": rows})

    def survey(self, model: str) -> tuple[dict[str, ReplicaState], tuple[str, ...]]:
        """What those say that answer, and what was wrong with the others."""

        async def ask(client: httpx.AsyncClient) -> ReplicaState:
            return ReplicaState.model_validate(_accepted(await client.get(f"/admin/v1/models/{model}/state")))

        answers = self._each(ask, self._silence)
        states = {a.replica: a for a in answers if not isinstance(a, Exception)}
        return states, tuple(str(a) for a in answers if isinstance(a, Exception))

    def _answers(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        async def ask(client: httpx.AsyncClient) -> dict[str, Any]:
            return _accepted(await client.post(path, json=body))

        return self._all(ask, min(self._timeout, ANSWER_S))

    def _states(self, ask: Ask[httpx.Response], limit: float) -> dict[str, ReplicaState]:
        async def state(client: httpx.AsyncClient) -> ReplicaState:
            return ReplicaState.model_validate(_accepted(await ask(client)))

        return {found.replica: found for found in self._all(state, limit)}

    async def _while_alive(self, client: httpx.AsyncClient, call: Awaitable[httpx.Response]) -> httpx.Response:
        """The response of a call that may take long, of a replica that is alive meanwhile.

        The call is sent first and the replica asked how it is afterwards: one that wakes up again finds the newest
        route waiting, and does not go on with an older one.
        """
        under_way = asyncio.ensure_future(call)
        try:
            while not (await asyncio.wait({under_way}, timeout=min(PULSE_S, self._silence)))[0]:
                async with asyncio.timeout(self._silence):
                    await client.get("/healthz")
            return await under_way
        finally:
            under_way.cancel()

    def _each(self, ask: Ask[T], limit: float) -> list[T | Exception]:
        token = self._token_file.read_text(encoding="utf-8").strip()

        async def together() -> list[T | Exception]:
            return await asyncio.gather(*(_one(url, token, ask, limit) for url in self._urls))

        return asyncio.run(together())

    def _all(self, ask: Ask[T], limit: float) -> list[T]:
        answers = self._each(ask, limit)
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if failed:
            # A replica that refuses weighs more than one that is silent: trying again will not help there.
            first = next((f for f in failed if isinstance(f, Conflict)), failed[0])
            raise type(first)("; ".join(str(f) for f in failed))
        return [answer for answer in answers if not isinstance(answer, Exception)]


async def _one(url: str, token: str, ask: Ask[T], limit: float) -> T | Exception:
    """What one replica answers within ``limit`` seconds, whatever it dribbles meanwhile; or what was wrong."""
    headers = {"authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(base_url=url, timeout=limit, headers=headers, verify=_tls()) as client:
            async with asyncio.timeout(limit):
                return await ask(client)
    except TimeoutError:
        return Unavailable(f"{url} does not answer in time (at most {limit:g} s)")
    except Conflict as error:
        return Conflict(f"{url}: {error}")
    except (httpx.HTTPError, Unavailable, ValueError) as error:  # ValueError: it answers, but not as a replica does
        return Unavailable(f"{url}: {error or type(error).__name__}")


@cache
def _tls() -> SSLContext:
    """Reading the authorities takes longer than a call; it is done once."""
    return httpx.create_ssl_context()


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
