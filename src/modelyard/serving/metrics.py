"""Prometheus metrics. The hot path adds to plain numbers; the exposition is made of them at each scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from modelyard.serving.control import Control
from modelyard.serving.log import PredictionLog

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BUCKETS_MS = tuple(1e3 * bound for bound in BUCKETS)


class Histogram:
    """Counts by upper bound, and the sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One observation."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def extend_ms(self, values: Sequence[float]) -> None:
        """Several, in milliseconds."""
        if not values:
            return
        counts = self.counts
        self.total += sum(values) / 1e3
        # Requests that were answered together mostly took alike: then they are counted together.
        first, last = bisect_left(_BUCKETS_MS, min(values)), bisect_left(_BUCKETS_MS, max(values))
        if first == last:
            counts[first] += len(values)
            return
        for each in values:
            counts[bisect_left(_BUCKETS_MS, each)] += 1


class Metrics:
    """Requests by model, kind and status; latencies; what the log and the guardrails count."""

    def __init__(self, control: Control, log: PredictionLog) -> None:
        self._control, self._log = control, log
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._latency: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.in_flight = self.shed = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def count(self, model: str, kind: str, status: int, seconds: float) -> None:
        """One answered request."""
        self._requests[model, kind, status] += 1
        if kind == "predict":
            self._latency[model].add(seconds)

    def answered(self, model: str, status: int, took_ms: Sequence[float]) -> None:
        """Requests of the quick way that were answered with this status."""
        self.in_flight -= len(took_ms)
        self._requests[model, "predict", status] += len(took_ms)
        self._latency[model].extend_ms(took_ms)

    def text(self) -> bytes:
        """The exposition."""
        exposition: bytes = generate_latest(self._registry)
        return exposition

    def collect(self) -> Iterable[Metric]:
        """For the Prometheus client."""
        requests = CounterMetricFamily("gateway_requests", "Requests", labels=["model", "kind", "status"])
        for (model, kind, status), number in sorted(self._requests.items()):
            requests.add_metric([model, kind, str(status)], number)
        yield requests
        latency = HistogramMetricFamily("inference_latency_seconds", "Time to answer", labels=["model"])
        for model, histogram in sorted(self._latency.items()):
            bounds = [*map(str, BUCKETS), "+Inf"]
            buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
            latency.add_metric([model], buckets, histogram.total)
        yield latency
        yield CounterMetricFamily("gateway_shed", "Requests refused past the capacity", value=self.shed)
        yield GaugeMetricFamily("gateway_in_flight", "Requests under way", value=self.in_flight)
        yield CounterMetricFamily("prediction_log_rows", "Rows written to the prediction log", value=self._log.written)
        yield CounterMetricFamily("prediction_log_dropped_rows", "Rows lost to a full disk", value=self._log.dropped)
        yield CounterMetricFamily(
            "prediction_log_failed_writes", "Files that could not be written", value=self._log.failed_writes
        )
        yield GaugeMetricFamily("prediction_log_unwritten_rows", "Rows being written", value=self._log.unwritten)
        features = CounterMetricFamily("online_features", "Features that could not be read", labels=["why"])
        for why, number in asdict(self._control.store.tally).items():
            features.add_metric([why], number)
        yield features
        yield from self._routes()

    def _routes(self) -> Iterable[Metric]:
        weight = GaugeMetricFamily("gateway_challenger_weight", "Basis points of the traffic", labels=["model"])
        tripped = GaugeMetricFamily("gateway_tripped", "Whether a guardrail has tripped", labels=["model"])
        rows = CounterMetricFamily(
            "gateway_rows", "Rows by version in this rollout", labels=["model", "variant", "what"]
        )
        for model in sorted(self._control.served):
            state = self._control.state(model)
            weight.add_metric([model], state.weight)
            tripped.add_metric([model], float(bool(state.tripped)))
            for variant, numbers in state.counts.items():
                if variant.startswith("call_ms"):  # a histogram for the rollout's looks: a series for each of its cells
                    continue
                for what, number in numbers.items():
                    rows.add_metric([model, variant, what], number)
        yield from (weight, tripped, rows)
