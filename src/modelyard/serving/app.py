"""The gateway's ASGI application. Thin on purpose: a request costs little more than its parsing and its score."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from pydantic import Field, ValidationError

from modelyard.core import probes
from modelyard.core.value import Value
from modelyard.ports.fleet import Route
from modelyard.serving import pages
from modelyard.serving.control import Control
from modelyard.serving.errors import Refusal, busy
from modelyard.serving.ids import HEADER, request_id, safe
from modelyard.serving.lane import Reply
from modelyard.serving.log import Label, Number, PredictionLog
from modelyard.serving.metrics import Metrics
from modelyard.serving.requests import MOST_GENERATION, microseconds, read_feedback, read_predict

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MOST_BYTES = 1 << 20
MOST_IN_FLIGHT = 1024
BODY_S = 10.0
"""The longest that a body may take to arrive: a slow sender would otherwise hold its place for ever."""
SETTLE_S = 5.0
"""The longest that a stop waits for answers that nobody waits for, so that they are in the log."""
_SHEDDABLE = ("predict", "feedback")
"""What counts towards the capacity and is refused past it. Health, pages and the admin API are answered always."""
_JSON = (b"content-type", b"application/json")
_PROBE = probes.HEADER.lower().encode()
_NO_PROBE = (
    '"probe": true is for the platform\'s own checks, which show its token: no user may keep a request out of the log '
    "and the comparison. Leave it out"
)
_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()


class RouteRequest(Value):
    """The body of ``PUT /admin/v1/models/{name}/route``."""

    route: Route
    generation: int = Field(ge=1, le=MOST_GENERATION)


class App:
    """Routes paths to the model's holder; keeps the counts; refuses what is too much."""

    def __init__(
        self,
        control: Control,
        log: PredictionLog,
        metrics: Metrics,
        token_hash: bytes | None,
        most: int = MOST_IN_FLIGHT,
        probe_hash: bytes | None = None,
    ) -> None:
        self._control, self._log, self._metrics, self._token_hash = control, log, metrics, token_hash
        self._probe_hash = probe_hash
        self._most = most
        self.draining = False
        control.on_answered = metrics.answered

    def answers(self, target: bytes) -> bool:
        """Whether ``take`` may be asked for this request target."""
        return target in self._control.by_target

    def take(self, target: bytes, body: bytes, reply: Reply, request_id: str = "") -> bool:
        """Answer a POST with this whole body the quick way (``Lane.take``); False where it has to come by ASGI."""
        served = self._control.by_target.get(target)
        if served is None or self._metrics.in_flight >= self._most or not served.take(body, reply, request_id):
            return False
        self._metrics.in_flight += 1
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:  # a websocket
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        model, kind = _target(scope["path"])
        counted = int(kind in _SHEDDABLE)
        self._metrics.in_flight += counted
        try:
            if counted and self._metrics.in_flight > self._most:
                self._metrics.shed += 1
                raise busy(f"{self._most} requests are under way on this replica")
            status, headers, body = await self._answer(scope, receive, model, kind)
        except Refusal as refusal:
            status, headers, body = refusal.status, [_JSON, *refusal.headers], _encoder.encode(refusal.body())
        except Exception:  # noqa: BLE001  the last resort: the client gets an answer, the log the cause
            _log.exception("%s %s failed", scope["method"], scope["path"])
            status, headers = 500, [_JSON]
            body = _encoder.encode({"error": {"code": "internal", "message": "the gateway failed; see its log"}})
        finally:
            self._metrics.in_flight -= counted
        served = self._control.served.get(model)
        if served is not None and kind == "predict" and status >= 500:
            served.usage.failed()
        known = "" if served is None else model
        self._metrics.count(known, kind, status, time.perf_counter() - start)
        if safe(given_id := _header(scope["headers"], HEADER)):
            headers.append((HEADER, given_id))
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, model: str, kind: str) -> tuple[int, Headers, bytes]:
        method = scope["method"]
        if kind == "predict" and method == "POST":
            served, given_id = self._control.find(model), request_id(scope["headers"])
            request = read_predict(await _body(scope, receive))
            if request.probe and not self._trusted(scope["headers"]):
                raise Refusal(403, "probe_refused", _NO_PROBE, field="probe", value=True, accepted=False)
            answer = await served.predict(request, given_id)
            return 200, [_JSON], _encoder.encode(answer)
        if kind == "feedback" and method == "POST":
            return 202, [_JSON], _encoder.encode(self._feedback(model, await _body(scope, receive)))
        if kind == "admin":
            self._authorise(scope)
            return await self._admin(method, scope, receive, model)
        if kind == "page" and method in ("GET", "HEAD"):
            return self._page(scope)
        raise Refusal(405 if kind != "page" else 404, "no_such_route", f"{method} {scope['path']} is not served here")

    def _feedback(self, model: str, body: bytes) -> dict[str, int]:
        self._control.find(model)
        now, labels, numbers = time.time_ns() // 1000, [], []
        rows = read_feedback(body, self._control.declared.get(model, {})).rows
        for row in rows:
            known = microseconds(row.known_at, now)
            key = None if row.key is None else str(row.key)
            if row.label is not None:
                labels.append(Label(model, key, row.request_id, row.label, known, now))
            numbers += [Number(model, key, row.request_id, *named, known, now) for named in row.numbers.items()]
        self._log.feedback(labels, numbers)
        return {"accepted": len(rows)}

    def _authorise(self, scope: Scope) -> None:
        if self._token_hash is None:
            message = "the admin API is off: set MODELYARD_ADMIN_TOKEN_FILE and start again"
            raise Refusal(403, "admin_off", message)
        if not _matches(_header(scope["headers"], b"authorization").removeprefix(b"Bearer "), self._token_hash):
            raise Refusal(
                401, "unauthorised", "a valid bearer token is needed", headers=((b"www-authenticate", b"Bearer"),)
            )

    def _trusted(self, headers: Headers) -> bool:
        """Whether the platform itself asks: by the admin token, or through the edge by the one derived from it."""
        admin, probe = _header(headers, b"authorization").removeprefix(b"Bearer "), _header(headers, _PROBE)
        return _matches(admin, self._token_hash) or _matches(probe, self._probe_hash)

    async def _admin(self, method: str, scope: Scope, receive: Receive, model: str) -> tuple[int, Headers, bytes]:
        verb = scope["path"].rsplit("/", 1)[-1]
        if (method, verb) == ("GET", "state"):
            state = self._control.state(model)
        elif (method, verb) == ("PUT", "route"):
            try:
                request = RouteRequest.from_json(await _body(scope, receive))
            except ValidationError as error:
                raise Refusal(422, "invalid_route", str(error)) from None
            if request.route.model != model:
                raise Refusal(422, "invalid_route", f"the route is {request.route.model}'s, the path says {model}")
            state = await self._control.apply(request.route, request.generation)
        elif (method, verb) == ("POST", "probe"):
            probed = await self._control.find(model).probe(read_predict(await _body(scope, receive)).rows)
            return 200, [_JSON], _encoder.encode(probed)
        else:
            raise Refusal(404, "no_such_route", f"{method} {scope['path']} is not served here")
        return 200, [_JSON], state.to_json().encode()

    def _page(self, scope: Scope) -> tuple[int, Headers, bytes]:
        control, path = self._control, scope["path"]
        if path == "/healthz":
            return 200, [_JSON], b'{"status":"alive"}'
        if path == "/readyz":
            ready = not self.draining and not control.broken
            models = {name: served.live.generation for name, served in control.served.items() if served.live}
            body = {"ready": ready, "replica": control.replica, "models": models, "broken": control.broken}
            return 200 if ready else 503, [_JSON], _encoder.encode(body)
        if path == "/metrics":
            return 200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], self._metrics.text()
        if path == "/openapi.json":
            return 200, [_JSON], _encoder.encode(pages.openapi(control))
        if path in ("/", "/docs"):
            return (
                200,
                [(b"content-type", b"text/html; charset=utf-8")],
                pages.docs(control, "http://{}:{}".format(*scope["server"]), datetime.now(UTC)),
            )
        raise Refusal(404, "no_such_route", f"nothing is served at {path}; see /docs")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._log.recover()
                await self._control.restore()
                self._control.watch()
                await send({"type": "lifespan.startup.complete"})
            else:
                self.draining = True
                await self._settle()
                self._control.close()
                await self._log.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _settle(self) -> None:
        """Let end what is still answered to clients that have gone: uvicorn only waits for those that have not."""
        until = time.monotonic() + SETTLE_S
        while self._metrics.in_flight and time.monotonic() < until:  # noqa: ASYNC110  an event would cost each request
            await asyncio.sleep(0.01)


def _target(path: str) -> tuple[str, str]:
    """(model, kind) of a path; kind ``page`` for everything that is not about one model."""
    parts = path.split("/")
    if len(parts) == 5 and parts[1:3] == ["v1", "models"] and parts[4] in ("predict", "feedback"):
        return parts[3], parts[4]
    if len(parts) == 6 and parts[1:4] == ["admin", "v1", "models"]:
        return parts[4], "admin"
    return "", "page"


def _header(headers: Headers, wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _matches(given: bytes, hashed: bytes | None) -> bool:
    # Both sides are hashed, so that neither length nor content shows in the time that comparing takes.
    return hashed is not None and hmac.compare_digest(sha256(given).digest(), hashed)


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, of at most 1 MiB, within ``BODY_S``."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > MOST_BYTES:
            raise _too_large()
    try:
        async with asyncio.timeout(BODY_S):
            return await _chunks(receive)
    except TimeoutError:
        raise Refusal(
            408, "body_too_slow", f"a body arrives within {BODY_S:g} s", headers=((b"connection", b"close"),)
        ) from None


async def _chunks(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise _too_large()
    if message["type"] == "http.disconnect":
        raise Refusal(400, "disconnected", "the client went away")
    return body


def _too_large() -> Refusal:
    return Refusal(413, "body_too_large", f"a body has at most {MOST_BYTES} bytes", accepted=MOST_BYTES)
