"""The numbers: strict, frozen, digested."""

from __future__ import annotations

import pytest

from modelyard.core.errors import ConfigError
from modelyard.training.params import TrainParams, read_params


def test_a_misspelt_number_is_named_with_what_is_accepted() -> None:
    with pytest.raises(ConfigError, match=r"epoch.*Did you mean 'epochs'"):
        read_params({"epoch": 3}, model="m")


def test_overrides_win() -> None:
    assert read_params({"epochs": 3, "lr": 0.1}, model="m", overrides={"epochs": 4}).epochs == 4


def test_held_out_days_must_leave_something() -> None:
    with pytest.raises(ConfigError, match="leave nothing of window_days = 14"):
        read_params({"window_days": 14}, model="m")


def test_equal_numbers_have_equal_digests() -> None:
    assert TrainParams(seed=1).digest == TrainParams(seed=1).digest != TrainParams(seed=2).digest
