"""The graph as a custom runtime of MLServer.

As MLServer's documentation has it: an ``MLModel`` that decodes with ``NumpyCodec``, ``debug`` off. Without adaptive
batching, as by default: the documentation leaves it to experiment, and here batches of 8, 32 or 64 answered no more
requests than none. Without the pool of processes (``parallel_workers: 0``): for a model of some 30 us the way there and
back costs more than it gains. One process, as the gateway is here. Runs in the peers' environment: it imports nothing
of the platform.
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime  # noqa: TID253  a server of its own, which no DAG parses
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Bench(MLModel):  # type: ignore[misc]
    """Tensors of 27 numbers and 4 codes; their probabilities."""

    async def load(self) -> bool:
        """Read the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = os.environ["BENCH_GRAPH"]
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One probability a row."""
        numeric, categorical = (NumpyCodec.decode_input(each) for each in payload.inputs)
        feed = {"numeric": numeric.astype(np.float32), "categorical": categorical.astype(np.int64)}
        logit = self._session.run(["logit"], feed)[0]
        answer = NumpyCodec.encode_output("probability", (1 / (1 + np.exp(-logit))).reshape(-1, 1))
        return InferenceResponse(model_name=self.name, outputs=[answer])
