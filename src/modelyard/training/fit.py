"""Fits a network on encoded rows: device, seed and threads; the loop itself is in ``training.loop``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.release.encode import Tensors
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.loop import Loop
from modelyard.training.params import TrainParams
from modelyard.training.placing import place
from modelyard.training.ranks import Ranks
from modelyard.training.watch import Epoch, Watch

Build = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows with their labels."""

    feeds: Tensors
    label: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.label.shape[0])


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


def fit(
    network: Callable[[], Any],
    train: Rows,
    validation: Rows,
    params: TrainParams,
    device: str = "",
    *,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    ranks: Ranks | None = None,
) -> Fitted:
    """Fit with AdamW; keep the epoch with the least loss on the later rows.

    ``network`` builds an untrained module after the seed is set. On the CPU one thread is used: the network is too
    small for more to pay, and sums in one order make equal seeds give equal bits whatever the number of cores.
    With ``checkpoints`` a training that was interrupted goes on, and ends with the same bits there.

    Raises:
        ValueError: there are no rows to fit or to validate on, or the loss is no number any more.
    """
    if not len(train) or not len(validation):
        raise ValueError(f"nothing to fit: {len(train)} fitting and {len(validation)} validation rows")
    import torch

    device = device or choose_device()
    with _one_thread(device), torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(params.seed)
        model = network()
        model.adapt(
            torch.from_numpy(train.feeds["numeric"]) if "numeric" in train.feeds else torch.empty(len(train), 0)
        )
        model = model.to(device)
        fitting, held = (place(rows.feeds, rows.label, device) for rows in (train, validation))
        at = Loop(model, fitting, held, params, checkpoints=checkpoints, watch=watch, ranks=ranks).run()
    return Fitted(network=model.cpu().eval(), history=tuple(at.history), best=at.best, device=at.device)


def logits(model: Any, feeds: Tensors) -> npt.NDArray[np.float64]:
    """The logits of encoded rows, on the CPU."""
    import torch

    with torch.no_grad():
        out = model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
    return np.asarray(out.numpy(), dtype=np.float64)


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
