"""What was asked and what was answered, on its way into the response and the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.serving.encoding import Encoded, Row
from modelyard.serving.scorer import Scorer

Scores = NDArray[np.float64]


class InvalidOutput(Exception):
    """A version answered with something that is no probability."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Rows that are answered together, as the log and the comparison need them.

    ``rows`` may be empty where the other version takes the same inputs: then the encoded ones serve.
    """

    rows: Sequence[Row]
    keys: list[str]
    ids: list[str]
    event_us: list[int]
    served_us: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows that one version answered."""

    places: list[int]
    variant: str
    scorer: Scorer
    scores: Scores
    encoded: Encoded
    error: str = ""


def answer(model: str, request_id: str, parts: Sequence[Part], asked: Asked) -> dict[str, Any]:
    """The response to one request."""
    first, keys, ids = parts[0], asked.keys, asked.ids
    answers: list[dict[str, Any]] = [{}] * len(keys)
    for part in parts:
        threshold, version, variant = part.scorer.signature.threshold, part.scorer.version, part.variant
        for place, score in zip(part.places, part.scores.tolist(), strict=True):
            answers[place] = {
                "key": keys[place],
                "request_id": ids[place],
                "probability": score,
                "label": int(score >= threshold),
                "version": version,
                "variant": variant,
            }
    alone = len({(part.variant, part.scorer.version) for part in parts}) == 1
    return {
        "model": model,
        "version": first.scorer.version if alone else None,
        "release": first.scorer.digest if alone else None,
        "variant": first.variant if alone else "mixed",
        "request_id": request_id,
        "predictions": answers,
    }


class Template:
    """The response to a request of one row, with everything that is the same for all of them written beforehand."""

    def __init__(self, model: str, variant: str, scorer: Scorer) -> None:
        version, release = scorer.version, scorer.digest
        self._threshold = scorer.signature.threshold
        self._head = (
            f'{{"model":{encode_basestring(model)},"version":{version},"release":{encode_basestring(release)},'
            f'"variant":"{variant}","request_id":"'
        )
        self._tail = f',"version":{version},"variant":"{variant}"}}]}}'

    def fill(self, key: str, request_id: str, score: float) -> bytes:
        """The same as encoding ``answer``'s dictionary. The score is finite; the id needs no escaping."""
        label = 1 if score >= self._threshold else 0
        return (
            f'{self._head}{request_id}","predictions":[{{"key":{encode_basestring(key)},"request_id":"{request_id}",'
            f'"probability":{score!r},"label":{label}{self._tail}'
        ).encode()
