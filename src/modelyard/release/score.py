"""Scores rows with a bundle through ONNX Runtime on the CPU, exactly as the gateway does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from modelyard.core.errors import IntegrityError
from modelyard.core.value import Value
from modelyard.release.bundle import Bundle
from modelyard.release.encode import Columns, Tensors, Units, encode, probability
from modelyard.release.signature import Calibration, Signature

EXAMPLE_TOLERANCE = 1e-5
"""How far an answer may be from the bundle's example: batches and processors round differently."""


class Example(Value):
    """A few rows as the gateway receives them, and what the release answers."""

    rows: tuple[dict[str, JsonValue], ...]
    probability: tuple[float, ...]


class OnnxModel:
    """An ONNX graph on one CPU thread: rows are answered one by one, more threads would only wait for each other."""

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def logits(self, feeds: Tensors) -> npt.NDArray[np.float64]:
        """The logit of each row."""
        return np.asarray(self._session.run(["logit"], feeds)[0], dtype=np.float64)


class BundleModel:
    """A bundle, ready to score."""

    def __init__(self, bundle: Bundle) -> None:
        self.release = bundle.release
        self.signature = Signature.from_json(bundle.files["signature.json"])
        self.calibration = Calibration.from_json(bundle.files["calibration.json"])
        self.example = Example.from_json(bundle.files["example.json"])
        self.onnx = OnnxModel(bundle.files["model.onnx"])

    def score(self, columns: Columns, *, units: Units) -> npt.NDArray[np.float64]:
        """Calibrated probabilities. ``units`` is ``model`` for frames of the training pipeline."""
        return probability(self.onnx.logits(encode(columns, self.signature, units=units)), self.calibration)

    def check_example(self) -> float:
        """The largest difference from the example's answers.

        Raises:
            IntegrityError: it is beyond ``EXAMPLE_TOLERANCE``.
        """
        columns = {i.name: [row.get(i.name) for row in self.example.rows] for i in self.signature.inputs}
        difference = float(np.abs(self.score(columns, units="serving") - self.example.probability).max())
        if not difference <= EXAMPLE_TOLERANCE:
            raise IntegrityError(f"release {self.release.digest} differs from its own example by {difference:g}")
        return difference
