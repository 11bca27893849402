"""The graph as a BentoML service.

As BentoML's documentation has it for production: ``bentoml serve`` without ``--development``, adaptive batching
(``batchable=True``, one array of rows, which is what it batches; without it half as many are answered), one worker as
by default. One worker because the
gateway, too, is one process here; both are scaled out by more of them. Runs in the peers' environment: it imports
nothing of the platform.
"""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime  # noqa: TID253  a server of its own, which no DAG parses

NUMBERS = 27


@bentoml.service(workers=1, traffic={"timeout": 10}, metrics={"enabled": True}, logging={"access": {"enabled": False}})
class Bench:
    """Rows of 27 numbers and 4 codes; their probabilities."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = os.environ["BENCH_GRAPH"]
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=64, max_latency_ms=1000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """One probability a row."""
        feed = {"numeric": rows[:, :NUMBERS].astype(np.float32), "categorical": rows[:, NUMBERS:].astype(np.int64)}
        logit = self._session.run(["logit"], feed)[0]
        return 1 / (1 + np.exp(-logit))
