"""How long one row takes through ONNX Runtime on the CPU, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.release.encode import Tensors
from modelyard.release.score import OnnxModel

WARM_UP, CALLS = 50, 1000


def measure_latency(model: OnnxModel, feeds: Tensors, release: str) -> Iterator[Measurement]:
    """``latency_p50_ms``, ``_p95_ms`` and ``_p99_ms`` of one row at a time, after a warm-up."""
    n = next(iter(feeds.values())).shape[0]
    rows = [{name: array[i : i + 1] for name, array in feeds.items()} for i in range(min(n, 200))]
    spent = np.empty(CALLS)
    for call in range(-WARM_UP, CALLS):
        row = rows[call % len(rows)]
        start = time.perf_counter()
        model.logits(row)
        if call >= 0:
            spent[call] = (time.perf_counter() - start) * 1000
    for q in (50, 95, 99):
        yield Measurement(
            name=f"latency_p{q}_ms", value=float(np.percentile(spent, q)), unit="ms", n=CALLS, subject=release
        )
