"""Fits the simple models beside the network and compares them with it on the days that none of them was fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelyard.config.project import Project
from modelyard.core.window import Window
from modelyard.evaluation.bootstrap import blocks_of, interval
from modelyard.evaluation.metrics import losses
from modelyard.release.encode import encode
from modelyard.release.simple import Simple
from modelyard.training.baselines import Forecast, fit_baselines
from modelyard.training.params import TrainParams
from modelyard.training.signature import learn_signature
from modelyard.training.split import cut, rows_in

if TYPE_CHECKING:
    from modelyard.release.encode import Tensors
    from modelyard.release.signature import Signature
    from modelyard.training.model import Trained

Rivals = tuple["Signature", Mapping[str, Forecast]]


@contextmanager
def rivals(project: Project, frame: pd.DataFrame, window: Window, params: TrainParams) -> Iterator[Future[Rivals]]:
    """Fit the simple models while the body fits the network: it keeps one core busy, and most machines have two."""
    with ThreadPoolExecutor(1, thread_name_prefix="baselines") as pool:
        yield pool.submit(_fitted, project, frame, window, params)


def _fitted(project: Project, frame: pd.DataFrame, window: Window, params: TrainParams) -> Rivals:
    """On all days before the evaluation days: nothing stops or calibrates these models, so no days are kept for it."""
    from modelyard.training.model import encoded

    split, spec = cut(window, params), project.spec
    before = _labelled(project, frame, Window(start=split.fit.start, end=split.validation.end))
    signature = learn_signature(spec, before, params)
    return signature, fit_baselines(encoded(before, signature, spec.label.column))


def compare(project: Project, frame: pd.DataFrame, trained: Trained, found: Rivals) -> Iterator[Simple]:
    """The simple models beside the network, by logloss on the labelled rows of the evaluation days.

    The interval is a paired block bootstrap, as in the evaluation. None without such rows.
    """
    signature, forecasts = found
    held = _labelled(project, frame, trained.split.evaluation)
    if held.empty:
        return
    label = held[project.spec.label.column].to_numpy(dtype=np.float64)
    times = held[project.spec.source.event_time].dt.tz_convert("UTC").dt.tz_localize(None)
    blocks = blocks_of(times.to_numpy(dtype="datetime64[us]"))
    feeds: Tensors = encode({i.name: held[i.name] for i in signature.inputs}, signature, units="model")
    ours = losses(label, trained.score(held))
    for place, (name, forecast) in enumerate(forecasts.items()):
        theirs = losses(label, forecast(feeds))
        rng = np.random.default_rng([trained.params.seed, 300 + place])
        yield _compared(name, theirs, ours - theirs, blocks, rng)


def _compared(
    name: str,
    theirs: npt.NDArray[np.float64],
    difference: npt.NDArray[np.float64],
    blocks: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Simple:
    low, high = interval(lambda rows: float(difference[rows].mean()), blocks, rng) or (None, None)
    return Simple(name, float(theirs.mean()), float(difference.mean()), low, high)


def _labelled(project: Project, frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    spec = project.spec
    return frame[rows_in(frame[spec.source.event_time], window) & frame[spec.label.column].notna().to_numpy()]
