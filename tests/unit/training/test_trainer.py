"""The trainer: schedules, micro-batches, memory that runs out, precision, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fixtures.small_fit import PARAMS, STEPS, TRAIN, VALIDATION, bits, network

from modelyard.training.fit import Fitted, fit
from modelyard.training.gpu import gpu_metrics
from modelyard.training.params import TrainParams
from modelyard.training.placing import place
from modelyard.training.schedule import make_schedule
from modelyard.training.watch import All, Bar, Epoch, Watch

PLAIN = PARAMS.model_copy(update={"dropout": 0.0})


def fitted(params: TrainParams = PLAIN, build: Callable[[], Any] | None = None, watch: Watch | None = None) -> Fitted:
    return fit(build or network(params), TRAIN, VALIDATION, params, "cpu", watch=watch)


def furthest(one: Fitted, other: Fitted) -> float:
    theirs = other.network.state_dict()
    return max(float((t - theirs[name]).abs().max()) for name, t in one.network.state_dict().items() if t.numel())


def small(most: int, params: TrainParams = PLAIN, *, training_only: bool = False) -> Callable[[], Any]:
    """A network for which more rows at a time than ``most`` are too many for the memory."""
    import torch

    def build() -> Any:
        made = network(params)()

        def refuse(module: Any, _: Any, given: dict[str, Any]) -> None:
            if given["numeric"].shape[0] > most and (module.training or not training_only):
                raise torch.OutOfMemoryError("injected")

        made.register_forward_pre_hook(refuse, with_kwargs=True)
        return made

    return build


def rates(params: TrainParams, steps: int) -> list[float]:
    import torch

    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=params.lr)
    schedule, found = make_schedule(optimiser, params, steps), []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_schedule_warms_up_and_ends_as_it_says(schedule: str) -> None:
    params = TrainParams(lr=0.1, schedule=schedule, warmup=0.2)
    found = rates(params, 10)
    assert found[:2] == pytest.approx([0.05, 0.1])
    assert found[2] == pytest.approx(0.1)
    assert found[-1] == pytest.approx(0.1 if schedule == "constant" else 0.1 * 0.5 * (1 + np.cos(np.pi * 7 / 8)))
    assert rates(params.model_copy(update={"warmup": 0.0}), 10)[0] == pytest.approx(0.1)


def test_micro_batches_make_the_same_steps() -> None:
    whole = fitted()
    parts = fitted(PLAIN.model_copy(update={"micro_batch": 10}))
    assert bits(parts) != bits(whole)  # sums in another order
    assert furthest(parts, whole) < 1e-4
    assert parts.history[-1].fit_loss == pytest.approx(whole.history[-1].fit_loss, abs=1e-5)


def test_a_micro_batch_as_large_as_the_batch_changes_no_bit() -> None:
    assert bits(fitted(PARAMS.model_copy(update={"micro_batch": 64}))) == bits(fitted(PARAMS))


@pytest.mark.parametrize("most", [40, 1])
def test_memory_that_runs_out_is_answered_with_smaller_micro_batches(
    most: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = fitted(build=small(most))
    assert furthest(found, fitted()) < 1e-4
    assert f"{64 if most == 40 else 2} rows at a time" in caplog.text
    assert len(found.history) == PLAIN.epochs


def test_it_goes_on_as_if_the_smaller_micro_batch_had_been_asked_for() -> None:
    found = fitted(build=small(40, training_only=True))
    assert bits(found) == bits(fitted(PLAIN.model_copy(update={"micro_batch": 32})))


def test_not_even_one_row_is_an_error_of_its_own() -> None:
    import torch

    with pytest.raises(torch.OutOfMemoryError, match="not even one row"):
        fitted(build=small(0))


def test_bfloat16_learns_much_the_same() -> None:
    found, plain = fitted(PLAIN.model_copy(update={"precision": "bfloat16"})), fitted()
    assert bits(found) != bits(plain)
    assert found.history[-1].validation_loss == pytest.approx(plain.history[-1].validation_loss, abs=0.02)


class Notes(Watch):
    def __init__(self) -> None:
        self.began_with: tuple[int, int] = (-1, -1)
        self.steps, self.epochs, self.ends = 0, list[int](), 0

    def began(self, steps: int, done: int, history: Sequence[Epoch]) -> None:
        self.began_with = (steps, done)

    def stepped(self) -> None:
        self.steps += 1

    def closed(self, epoch: Epoch) -> None:
        self.epochs.append(epoch.epoch)

    def ended(self) -> None:
        self.ends += 1


def test_whoever_watches_is_told_and_changes_nothing() -> None:
    notes = Notes()
    found = fitted(watch=All(notes, Bar()))
    assert (notes.began_with, notes.steps, notes.epochs, notes.ends) == ((STEPS, 0), STEPS, [1, 2, 3], 1)
    assert bits(found) == bits(fitted())


def test_whoever_watches_is_told_of_the_end_also_when_it_is_a_bad_one() -> None:
    import torch

    notes = Notes()
    with pytest.raises(torch.OutOfMemoryError):
        fitted(build=small(0), watch=notes)
    assert notes.ends == 1


def test_a_batch_is_gathered_whole() -> None:
    import torch

    placed = place(TRAIN.feeds, TRAIN.label, "cpu")
    feeds, label = placed.take(torch.tensor([3, 1]))
    assert np.array_equal(feeds["numeric"].numpy(), TRAIN.feeds["numeric"][[3, 1]], equal_nan=True)
    assert np.array_equal(label.numpy(), TRAIN.label[[3, 1]])
    assert len(placed) == 250


def test_without_a_gpu_there_are_no_gpu_metrics() -> None:
    import torch

    assert bool(gpu_metrics()) == torch.cuda.is_available()
