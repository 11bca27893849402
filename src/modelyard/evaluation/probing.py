"""Rows encoded once, to be changed column by column and scored again: what importance and robustness share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modelyard.evaluation.metrics import Floats, logloss
from modelyard.release.encode import Tensors, encode, probability

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.release.score import BundleModel
    from modelyard.release.signature import Input

MOST_ROWS = 5000
"""So many of the rows, drawn once, are enough for a weight and keep the cost of a change at one pass over them."""

LEAST_ROWS = 100
Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Probe:
    """Some of the evaluation rows, encoded as the model reads them, with their outcomes and its loss on them."""

    model: BundleModel
    feeds: Tensors
    label: Floats
    loss: float

    def __len__(self) -> int:
        return int(self.label.size)

    def column(self, name: str) -> Column:
        """The encoded values of one input."""
        tensor, place = self._where(name)
        return np.asarray(self.feeds[tensor][:, place])

    def score(self, changed: Mapping[str, Column] | None = None) -> Floats:
        """The probabilities with these columns in the place of the rows' own."""
        feeds = dict(self.feeds)
        for name, values in (changed or {}).items():
            tensor, place = self._where(name)
            if feeds[tensor] is self.feeds[tensor]:
                feeds[tensor] = feeds[tensor].copy()
            feeds[tensor][:, place] = values
        return probability(self.model.onnx.logits(feeds), self.model.calibration)

    def rise(self, changed: Mapping[str, Column]) -> float:
        """How much the logloss rises with these columns; below 0 it falls."""
        return logloss(self.label, self.score(changed)) - self.loss

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs, as the signature has them."""
        return self.model.signature.inputs

    def _where(self, name: str) -> tuple[str, int]:
        signature = self.model.signature
        for tensor, inputs in (("numeric", signature.numeric), ("categorical", signature.categorical)):
            for place, item in enumerate(inputs):
                if item.name == name:
                    return tensor, place
        raise KeyError(name)


def make_probe(label: Floats, features: pd.DataFrame, model: BundleModel, *, seed: int) -> Probe | None:
    """At most ``MOST_ROWS`` of the rows, drawn by the seed; None with fewer than ``LEAST_ROWS``.

    ``features`` are in the units of the training pipeline, row by row with ``label``.
    """
    n = int(label.size)
    if n < LEAST_ROWS:
        return None
    rng = np.random.default_rng([seed, 200])
    rows = np.sort(rng.choice(n, MOST_ROWS, replace=False)) if n > MOST_ROWS else np.arange(n)
    drawn = features.iloc[rows]
    feeds = encode({str(name): drawn[name] for name in drawn}, model.signature, units="model")
    p = probability(model.onnx.logits(feeds), model.calibration)
    return Probe(model, feeds, label[rows], logloss(label[rows], p))
