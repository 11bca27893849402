"""The servers that the gateway is measured beside: ``python _peers.py hello|bare|off|fastapi PORT [BUNDLE]``.

``hello`` answers a fixed body by ASGI on the gateway's HTTP server (uvicorn, uvloop, httptools). ``bare`` does so by
the gateway's own way around ASGI: what is left to gain. ``off`` is the gateway whose log and metrics keep nothing.
``fastapi`` is what one writes in an afternoon: a typed body, ONNX Runtime, a dictionary back.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import BaseModel

from modelyard.serving.protocol import connection


class Request(BaseModel):
    """The body that FastAPI parses."""

    rows: list[dict[str, float | str | None]]


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads the request and answers."""
    if scope["type"] != "http":
        return
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"16")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"hello":"you"} '})


def fastapi(bundle: Path) -> Any:
    """FastAPI and ONNX Runtime on the same bundle; no split, no guardrails, no log."""
    import numpy as np
    import onnxruntime
    from fastapi import FastAPI

    from modelyard.release.signature import Calibration, Signature

    signature = Signature.from_json((bundle / "signature.json").read_bytes())
    calibration = Calibration.from_json((bundle / "calibration.json").read_bytes())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    codes = {i.name: {text: n for n, text in enumerate(i.vocabulary, 1)} for i in signature.categorical}
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        numeric = np.array([[row.get(i.name) for i in signature.numeric] for row in request.rows], dtype=np.float32)
        categorical = np.array(
            [[codes[i.name].get(row.get(i.name), 0) for i in signature.categorical] for row in request.rows]
        )
        logit = session.run(["logit"], {"numeric": numeric, "categorical": categorical})[0]
        p = 1 / (1 + np.exp(-(calibration.a * logit + calibration.b)))
        return {"predictions": [{"probability": float(x), "label": int(x >= 0.5)} for x in p]}

    return app


class Bare:
    """Takes every request, and answers those of one turn together."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[int, bytes], None]] = []

    def answers(self, target: bytes) -> bool:  # noqa: ARG002  it takes any
        """Every target."""
        return True

    def take(self, target: bytes, body: bytes, reply: Callable[[int, bytes], None], request_id: str = "") -> bool:  # noqa: ARG002  as above
        """Answer in the next turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._answer)
        self._waiting.append(reply)
        return True

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply(200, b'{"hello":"you"} ')


def off(arguments: list[str]) -> int:
    """The gateway without log and metrics; ``arguments`` are its own."""
    from modelyard.serving import __main__ as gateway
    from modelyard.serving.log import PredictionLog
    from modelyard.serving.metrics import Metrics

    class NoLog(PredictionLog):
        def add(self, answered: Any) -> None:
            """Forget it."""

    class NoMetrics(Metrics):
        def answered(self, model: str, status: int, seconds: Sequence[float]) -> None:  # noqa: ARG002  counts nothing
            self.in_flight -= len(seconds)

        def count(self, model: str, kind: str, status: int, seconds: float) -> None:
            """Count nothing."""

    gateway.PredictionLog, gateway.Metrics = NoLog, NoMetrics  # type: ignore[misc]
    return gateway.main(arguments)


def main() -> None:
    """Serve one of the peers."""
    kind = sys.argv[1]
    if kind == "off":
        sys.exit(off(sys.argv[2:]))
    uvicorn.run(
        fastapi(Path(sys.argv[3])) if kind == "fastapi" else hello,
        port=int(sys.argv[2]),
        loop="uvloop",
        http=connection(Bare()) if kind == "bare" else "httptools",
        lifespan="auto" if kind == "fastapi" else "off",
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main()
