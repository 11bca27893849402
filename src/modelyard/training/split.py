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
    """``[fit.start, fit.end) [validation...) [evaluation...)``, by the event time of the rows."""

    fit: Window
    validation: Window
    evaluation: Window


def cut(window: Window, params: TrainParams) -> Split:
    """Where the window is cut.

    Raises:
        ConfigError: the window is too short for the days held out.
    """
    evaluation = window.end - timedelta(days=params.evaluation_days)
    validation = evaluation - timedelta(days=params.validation_days)
    if validation <= window.start:
        least = params.validation_days + params.evaluation_days
        raise ConfigError("window", str(window), f"more than {least} days, which are held out")
    return Split(
        fit=Window(start=window.start, end=validation),
        validation=Window(start=validation, end=evaluation),
        evaluation=Window(start=evaluation, end=window.end),
    )


def rows_in(times: pd.Series, window: Window) -> Mask:
    """Which rows have their event time in the window."""
    return np.asarray((times >= pd.Timestamp(window.start)) & (times < pd.Timestamp(window.end)), dtype=np.bool_)
