"""The measurements that gates may name: what they mean, their unit and range, and whether they need a champion."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Known:
    """One measurement. ``compares`` says that it is a difference to the champion on the same rows."""

    meaning: str
    unit: str = ""
    low: float = -inf
    high: float = inf
    compares: bool = False


MEASUREMENTS: dict[str, Known] = {
    "auc": Known("area under the ROC curve", low=0, high=1),
    "logloss": Known("mean negative log-likelihood", unit="nats", low=0),
    "brier": Known("mean squared error of the probability", low=0, high=1),
    "accuracy": Known("share of right answers at the threshold", low=0, high=1),
    "ece": Known("expected calibration error", low=0, high=1),
    "calibration_gap": Known("mean prediction minus observed rate", low=-1, high=1),
    "observed_rate": Known("share of positive outcomes", low=0, high=1),
    "evaluation_rows": Known("rows that the release was evaluated on", unit="rows", low=0),
    "train_validation_gap": Known("logloss on validation rows minus on training rows", unit="nats"),
    "logloss_difference": Known("logloss, release minus champion, same rows", unit="nats", compares=True),
    "auc_difference": Known("AUC, release minus champion, same rows", low=-1, high=1, compares=True),
    "brier_difference": Known("Brier score, release minus champion, same rows", low=-1, high=1, compares=True),
    "accuracy_difference": Known("accuracy, release minus champion, same rows", low=-1, high=1, compares=True),
    "latency_p50_ms": Known("median time to score one row", unit="ms", low=0),
    "latency_p95_ms": Known("95th percentile of the time to score one row", unit="ms", low=0),
    "latency_p99_ms": Known("99th percentile of the time to score one row", unit="ms", low=0),
    "model_size_bytes": Known("size of the served model", unit="bytes", low=0),
    "onnx_max_difference": Known("largest difference of a logit between ONNX and torch", low=0),
    "example_difference": Known("largest difference of the bundle's example to its recorded answer", low=0, high=1),
}
"""By name. A policy that names anything else is refused."""
