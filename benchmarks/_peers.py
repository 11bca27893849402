"""The servers that the gateway is measured beside: ``python _peers.py hello|fastapi PORT [BUNDLE]``.

``hello`` answers a fixed body on the gateway's own HTTP server: what is left to gain. ``fastapi`` is what one writes in
an afternoon: a typed body, ONNX Runtime, a dictionary back.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import BaseModel


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


def main() -> None:
    """Serve one of the peers."""
    app = hello if sys.argv[1] == "hello" else fastapi(Path(sys.argv[3]))
    lifespan = "off" if sys.argv[1] == "hello" else "auto"
    uvicorn.run(
        app,
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        lifespan=lifespan,
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
