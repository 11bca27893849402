"""The loop goes on from wherever it was cut off, and ends with the very same bits."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fixtures.small_fit import PARAMS, STEPS, TRAIN, VALIDATION, bits, network, rows

from modelyard.training.checkpoints import Checkpoints
from modelyard.training.fit import Fitted, fit
from modelyard.training.params import TrainParams


class CutOff(BaseException):
    """Stands for a signal."""


def interrupted(folder: Path, step: int, params: TrainParams = PARAMS) -> None:
    """Train with a checkpoint after every step, and be cut off once ``step`` of them are kept."""
    asked = iter(range(1, 10_000))

    def clock() -> float:
        # Twice for each step: whether one is due, and when it was made. The very first call is the beginning.
        if next(asked) == 2 * step + 2:
            raise CutOff
        return 0.0

    with pytest.raises(CutOff):
        fit(network(params), TRAIN, VALIDATION, params, "cpu", checkpoints=Checkpoints(folder, 0, clock=clock))


def resumed(folder: Path, params: TrainParams = PARAMS, subject: str = "") -> Fitted:
    return fit(network(params), TRAIN, VALIDATION, params, "cpu", checkpoints=Checkpoints(folder, 1e9, subject))


@pytest.fixture(scope="module")
def whole() -> Fitted:
    return fit(network(), TRAIN, VALIDATION, PARAMS, "cpu")


@pytest.mark.parametrize("step", [1, 3, 4, 5, STEPS - 1])
def test_cut_off_after_any_step_it_ends_with_the_same_bits(
    step: int, whole: Fitted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tmp_path, step)
    with caplog.at_level(logging.INFO):
        again = resumed(tmp_path)
    assert "goes on from a checkpoint" in caplog.text
    assert bits(again) == bits(whole)
    assert (again.history, again.best) == (whole.history, whole.best)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_every_schedule_is_gone_on_with(schedule: str, tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"schedule": schedule})
    interrupted(tmp_path, 7, params)
    straight = fit(network(params), TRAIN, VALIDATION, params, "cpu")
    assert bits(resumed(tmp_path, params)) == bits(straight)


def test_early_stopping_is_kept(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"epochs": 30, "patience": 1, "lr": 0.3, "schedule": "constant"})
    straight = fit(network(params), TRAIN, VALIDATION, params, "cpu")
    ended = len(straight.history)
    assert straight.best == ended - 1 < 29
    interrupted(tmp_path, 4 * ended - 1, params)
    again = resumed(tmp_path, params)
    assert (again.history, again.best, bits(again)) == (straight.history, straight.best, bits(straight))


def test_a_finished_training_is_not_done_again(whole: Fitted, tmp_path: Path) -> None:
    resumed(tmp_path)
    begun: list[int] = []

    class Watched(Checkpoints):
        def due(self) -> bool:
            begun.append(1)
            return False

    again = fit(network(), TRAIN, VALIDATION, PARAMS, "cpu", checkpoints=Watched(tmp_path, 0))
    assert begun == []
    assert bits(again) == bits(whole)


@pytest.mark.parametrize("other", ["numbers", "rows", "network", "subject"])
def test_a_checkpoint_of_another_training_is_not_gone_on_from(
    other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tmp_path, 5)
    params = PARAMS.model_copy(update={"seed": 1} if other == "numbers" else {})
    train = rows(249, 1) if other == "rows" else TRAIN
    build = network(params.model_copy(update={"hidden": (9,)})) if other == "network" else network(params)
    kept = Checkpoints(tmp_path, 1e9, "sha256:other" if other == "subject" else "")
    with caplog.at_level(logging.WARNING):
        found = fit(build, train, VALIDATION, params, "cpu", checkpoints=kept)
    assert "begins anew" in caplog.text
    assert bits(found) == bits(fit(build, train, VALIDATION, params, "cpu"))
