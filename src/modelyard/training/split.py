"""Cuts a training window by time, never at random: tomorrow's flights must not teach about today's."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelyard.core.errors import ConfigError
from modelyard.core.value import Value
from modelyard.core.window import Window
from modelyard.training.params import TrainParams

Mask = npt.NDArray[np.bool_]


class Split(Value):
    """Three windows, one after the other, by the event time of the rows; what comes after them is still settling."""

    fit: Window
    validation: Window
    evaluation: Window

    @property
    def windows(self) -> dict[str, Window]:
        """The three windows by name."""
        return {"fit": self.fit, "validation": self.validation, "evaluation": self.evaluation}


def cut(window: Window, params: TrainParams) -> Split:
    """Where the window is cut.

    Raises:
        ConfigError: the window is too short for the days held out.
    """
    settled = window.end - timedelta(hours=params.settle_hours)
    evaluation = settled - timedelta(days=params.evaluation_days)
    validation = evaluation - timedelta(days=params.validation_days)
    if validation <= window.start:
        held = window.end - validation
        raise ConfigError("window", str(window), f"longer than the {held / timedelta(days=1):g} days that are held out")
    return Split(
        fit=Window(start=window.start, end=validation),
        validation=Window(start=validation, end=evaluation),
        evaluation=Window(start=evaluation, end=settled),
    )


def rows_in(times: pd.Series, window: Window) -> Mask:
    """Which rows have their event time in the window."""
    return np.asarray((times >= pd.Timestamp(window.start)) & (times < pd.Timestamp(window.end)), dtype=np.bool_)
