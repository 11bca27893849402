"""The training loop: where it stands is a value that can be kept, so that it goes on from there bit by bit on the CPU.

Data stay on the device; an epoch is one permutation, a batch a slice of it, and no row is ever touched alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard.core.digest import digest_json
from modelyard.training.checkpoints import Checkpoints, State
from modelyard.training.params import TrainParams
from modelyard.training.schedule import make_schedule

_log = logging.getLogger(__name__)
Placed = tuple[dict[str, Any], Any]
"""The inputs by name and the labels, on the device."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the fitting rows came to."""

    epoch: int
    fit_loss: float
    validation_loss: float
    lr: float


@dataclass(slots=True)
class Standing:
    """How far a training has come: ``epoch`` (from 1) is under way, ``batch`` of its batches are done.

    ``best`` is the epoch that would be kept if the training ended now (0: the untrained network).
    """

    epoch: int = 1
    batch: int = 0
    best: int = 0
    done: bool = False
    history: list[Epoch] = field(default_factory=list)


class Loop:
    """Fits one network on rows that are on its device.

    ``checkpoints`` keep the state now and then, and are gone on from where they are of this very training.
    """

    def __init__(
        self,
        model: Any,
        train: Placed,
        validation: Placed,
        params: TrainParams,
        *,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        import torch

        self._model, self._train, self._validation, self._params = model, train, validation, params
        self._checkpoints = checkpoints
        self._rows: int = train[1].shape[0]
        self._steps = math.ceil(self._rows / params.batch_size)
        self._optimiser = torch.optim.AdamW(_groups(model, params), lr=params.lr)
        self._schedule = make_schedule(self._optimiser, params, self._steps * params.epochs)
        # On the CPU whatever the device: equal seeds visit the rows in one order everywhere.
        self._order = torch.Generator().manual_seed(params.seed)
        self._order_before = self._order.get_state()
        self._total = torch.zeros((), device=train[1].device)
        self._best = _copied(model.state_dict())
        self.at = Standing()

    def run(self) -> Standing:
        """Train to the end, from the newest checkpoint on if there is one; the model has the best epoch's weights then.

        Raises:
            ValueError: the loss is no number any more.
        """
        if self._checkpoints and (kept := self._checkpoints.newest()):
            self._go_on_from(kept)
        if not self.at.done:
            while not self.at.done:
                self._pass()
                self._close()
            # The work after a training may fail and be tried again: that shall not cost another training.
            if self._checkpoints:
                self._checkpoints.save(self.state())
        self._model.load_state_dict(self._best)
        return self.at

    def _pass(self) -> None:
        import torch

        self._model.train()
        if not self.at.batch:
            self._order_before = self._order.get_state()
            self._total.zero_()
        order = torch.randperm(self._rows, generator=self._order).to(self._train[1].device)
        for index in order.split(self._params.batch_size)[self.at.batch :]:
            self._step(index)
            self.at.batch += 1
            if self._checkpoints and self._checkpoints.due():
                self._checkpoints.save(self.state())

    def _step(self, index: Any) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        loss = _loss(self._model, self._train, index)
        loss.backward()
        self._optimiser.step()
        self._schedule.step()
        self._total += loss.detach() * index.shape[0]

    def _close(self) -> None:
        """End the epoch: is it the best so far, and is it the last?"""
        import torch

        at = self.at
        fit_loss = float(self._total / self._rows)
        self._model.eval()
        with torch.no_grad():
            held = float(_loss(self._model, self._validation))
        if not math.isfinite(fit_loss) or not math.isfinite(held):
            raise ValueError(
                f"the loss of epoch {at.epoch} is not finite; a lower lr (now {self._params.lr:g}) may help"
            )
        if held < min((h.validation_loss for h in at.history), default=math.inf):
            at.best, self._best = at.epoch, _copied(self._model.state_dict())
        at.history.append(Epoch(at.epoch, fit_loss, held, float(self._schedule.get_last_lr()[0])))
        at.done = at.epoch == self._params.epochs or at.epoch - at.best >= self._params.patience
        at.epoch, at.batch = at.epoch + 1, 0

    @property
    def _identity(self) -> str:
        """What a checkpoint must have been made of to be gone on from."""
        shapes = {name: list(tensor.shape) for name, tensor in self._model.state_dict().items()}
        sizes = [self._rows, self._validation[1].shape[0]]
        subject = self._checkpoints.subject if self._checkpoints else ""
        return digest_json({"params": self._params.digest, "rows": sizes, "subject": subject, "model": shapes})

    def state(self) -> State:
        """All that the loop needs to go on from here, copied."""
        import torch

        kept = self._optimiser.state_dict()
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        tensors |= {f"optimiser.{i}.{name}": v for i, own in kept["state"].items() for name, v in own.items()}
        tensors |= {"order": self._order_before, "random.cpu": torch.get_rng_state(), "total": self._total}
        if self._total.is_cuda:
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        facts = {
            "identity": self._identity,
            "standing": asdict(self.at),
            "schedule": self._schedule.state_dict(),
            "groups": kept["param_groups"],
        }
        # Tied weights share their memory, which the format refuses: each is copied.
        return State({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, facts)

    def _go_on_from(self, state: State) -> None:
        import torch

        facts, tensors = state.facts, state.tensors
        if facts["identity"] != self._identity:
            _log.warning("the checkpoint is of other numbers, rows or another network: training begins anew")
            return
        self._model.load_state_dict(_under("model.", tensors))
        self._best = {name: t.to(self._total.device) for name, t in _under("best.", tensors).items()}
        self._optimiser.load_state_dict({"state": _by_place(tensors), "param_groups": facts["groups"]})
        self._schedule.load_state_dict(facts["schedule"])
        self._order.set_state(tensors["order"])
        self._order_before = tensors["order"]
        torch.set_rng_state(tensors["random.cpu"])
        if self._total.is_cuda and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        self._total.copy_(tensors["total"])
        standing = facts["standing"]
        self.at = Standing(**standing | {"history": [Epoch(**epoch) for epoch in standing["history"]]})
        _log.info("training goes on from a checkpoint: epoch %d, batch %d", self.at.epoch, self.at.batch)


def _loss(model: Any, rows: Placed, index: Any = None) -> Any:
    import torch

    feeds, label = rows
    if index is not None:
        feeds, label = {name: tensor[index] for name, tensor in feeds.items()}, label[index]
    return torch.nn.functional.binary_cross_entropy_with_logits(model(**feeds), label)


def _groups(model: Any, params: TrainParams) -> list[dict[str, Any]]:
    """Biases are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": params.weight_decay}, {"params": free, "weight_decay": 0.0}]


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _under(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _by_place(tensors: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """The optimiser's tensors by the place of their parameter."""
    found: dict[int, dict[str, Any]] = {}
    for name, tensor in _under("optimiser.", tensors).items():
        place, _, what = name.partition(".")
        found.setdefault(int(place), {})[what] = tensor
    return found
