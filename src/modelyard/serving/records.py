"""The form in which answered rows and outcomes stand in the write-ahead journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from modelyard.serving.encoding import Encoded
from modelyard.serving.log_rows import Answered, Label, Number

_PLAIN = (
    "model", "rollout", "release", "version", "variant", "generation", "request_ids", "keys", "event_us", "served_us",
    "latency_ms", "names", "error",
)  # fmt: skip


def answered_record(answered: Answered) -> bytes:
    """Rows as one record; the other version's scores come later, and are not waited for."""
    encoded = answered.encoded
    body: dict[str, Any] = {name: getattr(answered, name) for name in _PLAIN}
    body |= {
        "scores": answered.scores.tolist(),
        "numeric": np.ascontiguousarray(encoded.numeric, dtype=np.float32).tobytes(),
        "categorical": np.ascontiguousarray(encoded.categorical, dtype=np.int64).tobytes(),
        "texts": encoded.texts,
    }
    return msgspec.msgpack.encode(["answered", body])


def outcomes_record(labels: Sequence[Label], numbers: Sequence[Number]) -> bytes:
    """Outcomes as one record."""
    return msgspec.msgpack.encode(["outcomes", [list(map(asdict, labels)), list(map(asdict, numbers))]])


def read_record(record: bytes) -> tuple[list[Answered], list[Label], list[Number]]:
    """What a record holds. Raises ``ValueError`` for one that this version of the gateway did not write."""
    try:
        kind, body = msgspec.msgpack.decode(record)
        if kind == "answered":
            return [_answered(body)], [], []
        labels, numbers = body
        return [], [Label(**one) for one in labels], [Number(**one) for one in numbers]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(f"not a record of the prediction log: {error}") from error


def _answered(body: dict[str, Any]) -> Answered:
    n = len(body["keys"])
    numbers, categories = body["names"]
    numeric = np.frombuffer(body["numeric"], dtype=np.float32).reshape(n, len(numbers))
    categorical = np.frombuffer(body["categorical"], dtype=np.int64).reshape(n, len(categories))
    texts = tuple(tuple(line) for line in body["texts"])
    given = {name: body[name] for name in _PLAIN} | {"names": (tuple(numbers), tuple(categories))}
    return Answered(**given, scores=np.array(body["scores"]), encoded=Encoded(numeric, categorical, texts))
