"""Time decides who is fitted on, who stops the fitting, and who is held out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from modelyard.core.errors import ConfigError
from modelyard.core.window import Window
from modelyard.training.params import TrainParams
from modelyard.training.split import cut, rows_in

WINDOW = Window(start=datetime(2013, 1, 15, tzinfo=UTC), end=datetime(2013, 4, 9, tzinfo=UTC))
PARAMS = TrainParams(window_days=84, validation_days=7, evaluation_days=5, settle_hours=12)


def test_the_windows_follow_each_other_and_the_last_hours_are_left_out() -> None:
    split = cut(WINDOW, PARAMS)
    assert split.fit.start == WINDOW.start
    assert split.fit.end == split.validation.start
    assert split.validation.end == split.evaluation.start
    assert split.evaluation.end == WINDOW.end - timedelta(hours=12)
    assert (split.validation.days, split.evaluation.days) == (7, 5)


def test_every_row_is_in_at_most_one_part() -> None:
    times = pd.Series(pd.date_range(WINDOW.start, WINDOW.end, freq="h"))
    parts = [rows_in(times, window) for window in cut(WINDOW, PARAMS).windows.values()]
    assert (sum(part.astype(int) for part in parts) <= 1).all()
    assert [part.sum() for part in parts] == [24 * 71.5, 24 * 7, 24 * 5]


def test_a_window_that_is_all_held_out_is_refused() -> None:
    short = Window.last(timedelta(days=12), before=WINDOW.end)
    with pytest.raises(ConfigError, match=r"longer than the 12\.5 days"):
        cut(short, PARAMS)
