"""The training loop: where it stands is a value that can be kept, so that it goes on from there bit by bit on the CPU.

Data stay on the device; an epoch is one permutation, a batch a slice of it, and no row is ever touched alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard.core.digest import digest_json
from modelyard.training.checkpoints import Checkpoints, State
from modelyard.training.params import TrainParams
from modelyard.training.placing import Placed
from modelyard.training.ranks import Ranks
from modelyard.training.schedule import make_schedule
from modelyard.training.watch import Epoch, Watch

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Standing:
    """How far a training has come: ``epoch`` (from 1) is under way, ``batch`` of its batches are done.

    ``best`` is the epoch that would be kept if the training ended now (0: the untrained network). ``micro`` rows are
    taken at a time, ``held_out`` when the loss on the later rows is measured; both shrink where memory runs out.
    """

    device: str
    micro: int
    held_out: int

    epoch: int = 1
    batch: int = 0
    best: int = 0
    done: bool = False
    history: list[Epoch] = field(default_factory=list)


class Loop:
    """Fits one network on rows that are on its device.

    ``checkpoints`` keep the state now and then, and are gone on from where they are of this very training. Of several
    processes (``ranks``) the first keeps them; each works on its share of every batch.
    """

    def __init__(
        self,
        model: Any,
        train: Placed,
        validation: Placed,
        params: TrainParams,
        *,
        checkpoints: Checkpoints | None = None,
        watch: Watch | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        import torch

        self._model, self._train, self._validation, self._params = model, train, validation, params
        self._checkpoints, self._watch, self._ranks = checkpoints, watch or Watch(), ranks or Ranks()
        self._forward = model
        self._device, self._rows = train.device, len(train)
        self._autocast = _autocast(self._device, params.precision)
        self._steps = math.ceil(self._rows / params.batch_size)
        self._optimiser = torch.optim.AdamW(_groups(model, params), lr=params.lr)
        self._schedule = make_schedule(self._optimiser, params, self._steps * params.epochs)
        # On the CPU whatever the device: equal seeds visit the rows in one order everywhere.
        self._order = torch.Generator().manual_seed(params.seed)
        self._order_before = self._order.get_state()
        self._total = torch.zeros((), device=self._device)
        self._best = _copied(model.state_dict())
        micro = min(params.micro_batch or params.batch_size, params.batch_size)
        device = self._device.type + (f" x {self._ranks.size}" if self._ranks.size > 1 else "")
        self.at = Standing(device, micro, len(validation))

    def run(self) -> Standing:
        """Train to the end, from the newest checkpoint on if there is one; the model has the best epoch's weights then.

        Raises:
            ValueError: the loss is no number any more.
            OutOfMemoryError (of torch): not even a single row fits.
        """
        if self._checkpoints and (kept := self._checkpoints.newest()):
            self._go_on_from(kept)
        if not self.at.done:
            self._together()
        done = (self.at.epoch - 1) * self._steps + self.at.batch
        self._watch.began(self._steps * self._params.epochs, done, tuple(self.at.history))
        try:
            if not self.at.done:
                self._to_the_end()
        finally:
            self._watch.ended()
        self._model.load_state_dict(self._best)
        return self.at

    def _together(self) -> None:
        """Compile, and join the other processes, which all stand where the first one does."""
        import torch

        if self._params.compiled != "off":
            self._forward = torch.compile(self._model, backend=self._params.compiled)
        self._forward = self._ranks.wrapped(self._forward)
        if not self._ranks.first:
            # Dropout in each process by itself, or all would drop the same units.
            at = self.at
            torch.manual_seed(int(digest_json([self._params.seed, self._ranks.rank, at.epoch, at.batch])[-15:], 16))

    def _to_the_end(self) -> None:
        while not self.at.done:
            self._pass()
            self._close()
        # The work after a training may fail and be tried again: that shall not cost another training.
        self._save()

    def _save(self) -> None:
        if self._checkpoints and self._ranks.first:
            self._checkpoints.save(self.state())

    def _pass(self) -> None:
        import torch

        self._model.train()
        if not self.at.batch:
            self._order_before = self._order.get_state()
            self._total.zero_()
        order = torch.randperm(self._rows, generator=self._order).to(self._train.label.device)
        for index in order.split(self._params.batch_size)[self.at.batch :]:
            self._step(index)
            self.at.batch += 1
            self._watch.stepped()
            if self._checkpoints and self._checkpoints.due():
                self._save()

    def _step(self, index: Any) -> None:
        share = self._ranks.share(index)
        while (loss := self._gradient(share, index.shape[0])) is None:
            self.at.micro = self._halved(min(self.at.micro, max(1, share.shape[0])))
        self._optimiser.step()
        self._schedule.step()
        self._total += loss

    def _gradient(self, share: Any, batch: int) -> Any:
        """The gradient of the whole batch's mean loss, summed over micro-batches; None if memory ran out.

        Returns the sum of the losses of this process's share of the batch.
        """
        import torch

        self._optimiser.zero_grad(set_to_none=True)
        found, parts = None, share.split(self.at.micro)
        try:
            for place, part in enumerate(parts):
                # Processes exchange gradients once for a batch, with its last part.
                with self._forward.no_sync() if self._waits(place, parts) else nullcontext():
                    loss = self._loss(self._forward, self._train.take(part), part.shape[0])
                    # Averaged over the processes afterwards, hence times their number.
                    weight = part.shape[0] * self._ranks.size / batch
                    (loss if weight == 1 else loss * weight).backward()
                mine = loss.detach() * part.shape[0]
                found = mine if found is None else found + mine
        except torch.OutOfMemoryError:
            if self._ranks.size > 1:
                raise  # the others are waiting for this gradient: nothing can be taken back
            return None
        return found

    def _waits(self, place: int, parts: Sequence[Any]) -> bool:
        return self._ranks.size > 1 and place < len(parts) - 1

    def _halved(self, rows: int) -> int:
        import torch

        if rows <= 1:
            raise torch.OutOfMemoryError("not even one row at a time fits into the memory: a smaller network may")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        half = (rows + 1) // 2
        _log.warning("out of memory with %d rows at a time: %d from here on, in steps of as many rows", rows, half)
        return half

    def _loss(self, network: Any, rows: tuple[dict[str, Any], Any], count: int) -> Any:
        import torch

        feeds, label = rows
        with self._autocast():
            logit = network(**feeds)
        if not count:
            return logit.float().sum() * 0.0  # a share without rows takes part in the exchange all the same
        return torch.nn.functional.binary_cross_entropy_with_logits(logit.float(), label)

    def _held_out_loss(self) -> float:
        """The mean loss of the later rows, as many at a time as the memory holds."""
        import torch

        self._model.eval()
        everything = torch.arange(len(self._validation), device=self._validation.label.device)
        while True:
            try:
                with torch.no_grad():
                    parts = everything.split(self.at.held_out)
                    # Not through the wrapped network: processes may take parts of different sizes here.
                    found = [self._loss(self._model, self._validation.take(p), len(p)) for p in parts]
                    return float(found[0] if len(found) == 1 else _mean(found, parts))
            except torch.OutOfMemoryError:
                pass  # outside of this block nothing holds on to the memory any more
            self.at.held_out = self._halved(self.at.held_out)

    def _close(self) -> None:
        """End the epoch: is it the best so far, and is it the last?"""
        at = self.at
        fit_loss = self._ranks.total(self._total / self._rows)
        held = self._ranks.agreed(self._held_out_loss(), self._device)
        if not math.isfinite(fit_loss) or not math.isfinite(held):
            raise ValueError(
                f"the loss of epoch {at.epoch} is not finite; a lower lr (now {self._params.lr:g}) may help"
            )
        if held < min((h.validation_loss for h in at.history), default=math.inf):
            at.best, self._best = at.epoch, _copied(self._model.state_dict())
        at.history.append(Epoch(at.epoch, fit_loss, held, float(self._schedule.get_last_lr()[0])))
        at.done = at.epoch == self._params.epochs or at.epoch - at.best >= self._params.patience
        at.epoch, at.batch = at.epoch + 1, 0
        self._watch.closed(at.history[-1])

    @property
    def _identity(self) -> str:
        """What a checkpoint must have been made of to be gone on from."""
        shapes = {name: list(tensor.shape) for name, tensor in self._model.state_dict().items()}
        sizes = [self._rows, len(self._validation)]
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
        self._best = {name: t.to(self._device) for name, t in _under("best.", tensors).items()}
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


def _autocast(device: Any, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """bfloat16 where it is asked for, or where the GPU has it; it needs no scaling of the loss, as float16 would."""
    import torch

    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def _mean(losses: Sequence[Any], parts: Sequence[Any]) -> Any:
    weighted = [loss.double() * len(part) for loss, part in zip(losses, parts, strict=True)]
    return sum(weighted) / sum(map(len, parts))


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
