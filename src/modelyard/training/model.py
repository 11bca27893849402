"""From a training frame to a calibrated model: split by time, signature, fit, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelyard.config.project import Project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.window import Window
from modelyard.release.encode import Tensors, encode, probability
from modelyard.release.signature import Calibration, Signature
from modelyard.training.build import builder
from modelyard.training.calibrate import fit_platt
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.fit import Fitted, Rows, fit, logits
from modelyard.training.params import TrainParams
from modelyard.training.signature import learn_signature
from modelyard.training.split import Split, cut, rows_in
from modelyard.training.together import Job, fit_together, processes_of
from modelyard.training.watch import Watch


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted and calibrated model with all that led to it.

    ``parameters`` counts the network's weights; ``fit_logloss`` is of the fitting rows, without dropout or calibration.
    """

    fitted: Fitted
    signature: Signature
    calibration: Calibration
    split: Split
    params: TrainParams
    counts: dict[str, int]
    parameters: int
    fit_logloss: float

    def score(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Calibrated probabilities of the rows of a training frame."""
        feeds = encode({i.name: frame[i.name] for i in self.signature.inputs}, self.signature, units="model")
        return probability(logits(self.fitted.network, feeds), self.calibration)


def train_model(
    project: Project,
    frame: pd.DataFrame,
    window: Window,
    params: TrainParams,
    device: str = "",
    *,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train on the rows whose outcome is known; the rows of the evaluation days are not looked at.

    With ``checkpoints`` a fit that was interrupted goes on, and one by several processes is possible.

    Raises:
        EvidenceMissing: the fitting or the validation days have no labelled rows.
        ConfigError: the frame lacks a feature, or the window is too short.
        Unavailable: of several processes one ended.
    """
    spec, split = project.spec, cut(window, params)
    labelled = frame[frame[spec.label.column].notna()]
    times = labelled[spec.source.event_time]
    fit_rows, held = labelled[rows_in(times, split.fit)], labelled[rows_in(times, split.validation)]
    if fit_rows.empty or held.empty:
        raise EvidenceMissing(
            f"{len(fit_rows)} labelled rows in {split.fit}, {len(held)} in {split.validation}: none to learn from"
        )
    signature = learn_signature(spec, fit_rows, params)
    train, validation = (encoded(rows, signature, spec.label.column) for rows in (fit_rows, held))
    build = builder(project, signature, params)
    if checkpoints and (processes := processes_of(params, device)) > 1:
        fit_together(Job(project.folder, signature, params, device), train, validation, processes, checkpoints)
    # After processes have fitted it together, the finished training is in the newest checkpoint.
    fitted = fit(build, train, validation, params, device, checkpoints=checkpoints, watch=watch)
    calibration = fit_platt(
        logits(fitted.network, validation.feeds),
        validation.label.astype(np.float64),
        shrinkage=params.calibration_shrinkage,
    )
    counts = {"fit": len(train), "validation": len(validation)}
    fit_logloss = _logloss(logits(fitted.network, train.feeds), train.label)
    return Trained(fitted, signature, calibration, split, params, counts, _count(fitted.network), fit_logloss)


def encoded(rows: pd.DataFrame, signature: Signature, label: str) -> Rows:
    """The rows as tensors, with their labels."""
    feeds: Tensors = encode({i.name: rows[i.name] for i in signature.inputs}, signature, units="model")
    return Rows(feeds, rows[label].to_numpy(dtype=np.float32))


def _logloss(logit: npt.NDArray[np.float64], label: npt.NDArray[np.float32]) -> float:
    return float((np.logaddexp(0.0, logit) - label * logit).mean())


def _count(network: Any) -> int:
    return sum(int(p.numel()) for p in network.parameters())
