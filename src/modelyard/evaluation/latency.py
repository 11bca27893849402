"""How long one row takes through ONNX Runtime on the CPU, in this process, and how many go through in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from modelyard.core.verdict import Measurement
from modelyard.release.encode import Tensors
from modelyard.release.score import OnnxModel

WARM_UP, CALLS = 50, 1000
BATCH, BATCHES = 256, 40


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


def measure_throughput(model: OnnxModel, feeds: Tensors, release: str) -> Measurement:
    """``throughput_rows_s``: rows per second on the one thread that a replica scores with, in batches of 256."""
    batch = {name: np.resize(tensor, (BATCH, *tensor.shape[1:])) for name, tensor in feeds.items()}
    model.logits(batch)
    start = time.perf_counter()
    for _ in range(BATCHES):
        model.logits(batch)
    spent, n = time.perf_counter() - start, BATCH * BATCHES
    return Measurement(name="throughput_rows_s", value=n / spent, unit="rows/s", n=n, subject=release)
