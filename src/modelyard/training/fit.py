"""Fits a network on tensors that stay on the device; batches are slices of a permutation, never single rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.release.encode import Tensors
from modelyard.training.params import TrainParams

Build = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows with their labels."""

    feeds: Tensors
    label: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.label.shape[0])


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the fitting rows came to."""

    epoch: int
    fit_loss: float
    validation_loss: float
    lr: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network on the CPU in evaluation mode, with its history; ``best`` is the epoch that was kept."""

    network: Any
    history: tuple[Epoch, ...]
    best: int
    device: str


def choose_device() -> str:
    """``cuda`` if there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fit(network: Callable[[], Any], train: Rows, validation: Rows, params: TrainParams, device: str = "") -> Fitted:
    """Fit with AdamW and a one-cycle schedule; keep the epoch with the least loss on the later rows.

    ``network`` builds an untrained module after the seed is set. On the CPU one thread is used: the network is too
    small for more to pay, and sums in one order make equal seeds give equal bits whatever the number of cores.

    Raises:
        ValueError: there are no rows to fit or to validate on.
    """
    if not len(train) or not len(validation):
        raise ValueError(f"nothing to fit: {len(train)} fitting and {len(validation)} validation rows")
    import torch

    device = device or choose_device()
    with _one_thread(device), torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.manual_seed(params.seed)
        model = network()
        model.adapt(
            torch.from_numpy(train.feeds["numeric"]) if "numeric" in train.feeds else torch.empty(len(train), 0)
        )
        history, best, state = _loop(model.to(device), _to(train, device), _to(validation, device), params, device)
    model.load_state_dict(state)
    return Fitted(network=model.cpu().eval(), history=history, best=best, device=device)


def _loop(
    model: Any, train: tuple[Any, Any], validation: tuple[Any, Any], params: TrainParams, device: str
) -> tuple[tuple[Epoch, ...], int, dict[str, Any]]:
    import torch

    optimiser = torch.optim.AdamW(_groups(model, params), lr=params.lr)
    steps = math.ceil(train[1].shape[0] / params.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.lr, total_steps=steps * params.epochs, pct_start=0.2
    )
    generator = torch.Generator(device=device).manual_seed(params.seed)
    history: list[Epoch] = []
    best, state = 0, copy.deepcopy(model.state_dict())
    for epoch in range(1, params.epochs + 1):
        fit_loss = _pass(model, train, optimiser, schedule, params.batch_size, generator)
        held = _loss(model, validation)
        if not math.isfinite(fit_loss) or not math.isfinite(held):
            raise ValueError(f"the loss of epoch {epoch} is not finite; a lower lr (now {params.lr:g}) may help")
        history.append(Epoch(epoch, fit_loss, held, float(schedule.get_last_lr()[0])))
        if held < min((h.validation_loss for h in history[:-1]), default=math.inf):
            best, state = epoch, copy.deepcopy(model.state_dict())
        if epoch - best >= params.patience:
            break
    return tuple(history), best, state


def _pass(model: Any, rows: tuple[Any, Any], optimiser: Any, schedule: Any, batch: int, generator: Any) -> float:
    """One epoch; returns the mean training loss (with dropout)."""
    import torch

    feeds, label = rows
    model.train()
    total = torch.zeros((), device=label.device)
    for index in torch.randperm(label.shape[0], generator=generator, device=label.device).split(batch):
        logit = model(**{name: tensor[index] for name, tensor in feeds.items()})
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, label[index])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.detach() * index.shape[0]
    return float(total / label.shape[0])


def _loss(model: Any, rows: tuple[Any, Any]) -> float:
    import torch

    feeds, label = rows
    model.eval()
    with torch.no_grad():
        return float(torch.nn.functional.binary_cross_entropy_with_logits(model(**feeds), label))


def logits(model: Any, feeds: Tensors) -> npt.NDArray[np.float64]:
    """The logits of encoded rows, on the CPU."""
    import torch

    with torch.no_grad():
        out = model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
    return np.asarray(out.numpy(), dtype=np.float64)


def _groups(model: Any, params: TrainParams) -> list[dict[str, Any]]:
    """Biases are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": params.weight_decay}, {"params": free, "weight_decay": 0.0}]


def _to(rows: Rows, device: str) -> tuple[dict[str, Any], Any]:
    import torch

    feeds = {name: torch.from_numpy(array).to(device) for name, array in rows.feeds.items()}
    return feeds, torch.from_numpy(rows.label).to(device)


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
