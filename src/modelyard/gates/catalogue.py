"""The measurements that gates may name: what they mean, their unit and range, who measures them, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

Group = Literal[
    "manifest",
    "standing",
    "bundle",
    "supply",
    "quality",
    "comparison",
    "fairness",
    "robustness",
    "latency",
    "gateway",
]
"""Who measures. ``manifest`` and ``standing`` read records, ``bundle`` reads files, ``supply`` the installed packages;
``quality`` to ``latency`` score the evaluation rows, ``gateway`` starts a process."""

GROUPS: tuple[Group, ...] = get_args(Group)
"""In the order of their cost."""


@dataclass(frozen=True, slots=True)
class Known:
    """One measurement. ``compares`` says that it is made against the champion, whom its ``variant`` names."""

    meaning: str
    group: Group
    unit: str = ""
    low: float = -inf
    high: float = inf
    compares: bool = False


def _difference(meaning: str, **more: float | str) -> Known:
    return Known(f"{meaning}, release minus champion, same rows", "comparison", compares=True, **more)  # type: ignore[arg-type]


def _share(meaning: str, group: Group) -> Known:
    return Known(meaning, group, low=0, high=1)


def _count(meaning: str, group: Group, unit: str = "") -> Known:
    return Known(meaning, group, unit, low=0)


def _ms(meaning: str, group: Group) -> Known:
    return Known(meaning, group, "ms", low=0)


MEASUREMENTS: dict[str, Known] = {
    "auc": _share("area under the ROC curve", "quality"),
    "logloss": _count("mean negative log-likelihood", "quality", "nats"),
    "brier": _share("mean squared error of the probability", "quality"),
    "accuracy": _share("share of right answers at the threshold", "quality"),
    "ece": _share("expected calibration error", "quality"),
    "calibration_gap": Known("mean prediction minus observed rate", "quality", low=-1, high=1),
    "observed_rate": _share("share of positive outcomes", "quality"),
    "evaluation_rows": _count("rows that the release was evaluated on", "quality", "rows"),
    "unknown_category_share": _share("largest share of rows with a category that is not in the vocabulary", "quality"),
    "correlation": _share("largest absolute correlation of two numeric inputs", "quality"),
    "train_validation_gap": Known("logloss on validation rows minus on training rows", "manifest", "nats"),
    "late_improvement": _share("share of the validation loss's fall that came in the last quarter", "manifest"),
    "training_operations": _count("arithmetic of the training: 6 x parameters x rows x epochs", "manifest"),
    "unnamed_commit": _share("1 where no commit names the code of the release", "manifest"),
    "code_changes": _count("parts of the code that differ from what the release was made with", "manifest"),
    "unvalidated_snapshot": _share("1 where the rows it learnt from have not been admitted by validation", "standing"),
    "bundle_faults": _count("what is wrong with the files on record against the manifest", "standing"),
    "way_back_faults": Known("what is wrong with the champion's own files", "standing", low=0, compares=True),
    "spare_approvers": Known("people who may approve it, beyond the quorum", "standing"),
    "pickled_files": _count("files of the bundle that can run code when they are read", "bundle"),
    "unwatched_inputs": _count("inputs without a reference to measure drift against", "bundle"),
    "model_size_bytes": _count("size of the served model", "bundle", "bytes"),
    "packages_without_licence": _count("installed packages that name no licence", "supply"),
    "packages_of_denied_licence": _count("installed packages under a licence that is not accepted", "supply"),
    "known_vulnerabilities": _count("published advisories on installed packages", "supply"),
    "logloss_difference": _difference("logloss", unit="nats"),
    "auc_difference": _difference("AUC", low=-1, high=1),
    "brier_difference": _difference("Brier score", low=-1, high=1),
    "accuracy_difference": _difference("accuracy", low=-1, high=1),
    "worse_p": Known("McNemar's one-sided p that it is right more seldom", "comparison", low=0, high=1, compares=True),
    "demographic_parity_difference": _share("largest difference of the positive rate between groups", "fairness"),
    "equalized_odds_difference": _share("largest difference of the true or the false positive rate", "fairness"),
    "noise_loss": Known("rise of the logloss when the numeric inputs are noisy", "robustness", "nats"),
    "missing_loss": Known("rise of the logloss when a fifth of what may be missing is", "robustness", "nats"),
    "shift_loss": Known("rise of the logloss when the numeric inputs are shifted", "robustness", "nats"),
    "outage_loss": Known("rise of the logloss when every value of the feature store is missing", "robustness", "nats"),
    "class_consistency": _share("share of rows with one and the same class in repeated runs", "robustness"),
    "score_spread": _share("largest difference of a row's scores in repeated runs", "robustness"),
    "onnx_max_difference": _count("largest difference of a logit between ONNX and torch", "manifest"),
    "example_difference": _share("largest difference of the bundle's example to its recorded answer", "bundle"),
    "latency_p50_ms": _ms("median time to score one row", "latency"),
    "latency_p95_ms": _ms("95th percentile of the time to score one row", "latency"),
    "latency_p99_ms": _ms("99th percentile of the time to score one row", "latency"),
    "throughput_rows_s": _count("rows scored per second on one core, in batches", "latency", "rows/s"),
    "memory_bytes": _count("memory that a replica takes more once it answers with it", "gateway", "bytes"),
    "gateway_failures": _count("requests that a gateway of its own did not answer", "gateway"),
    "gateway_refused_share": _share("share of the evaluation rows that the signature does not accept", "gateway"),
    "gateway_difference": _share("largest difference of its answers to the evaluation's", "gateway"),
    "gateway_latency_p50_ms": _ms("median time of a request over HTTP", "gateway"),
    "gateway_latency_p95_ms": _ms("95th percentile of the time of a request over HTTP", "gateway"),
    "gateway_latency_p99_ms": _ms("99th percentile of the time of a request over HTTP", "gateway"),
    "gateway_requests_s": _count("requests per second, one after the other", "gateway", "1/s"),
}
"""By name. A policy that names anything else is refused."""
