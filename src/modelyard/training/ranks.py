"""One of several processes that fit one network together: its place, its share of a batch, what all agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process is number ``rank`` (from 0) of ``size``. Alone by default.

    With more than one, a process group of ``torch.distributed`` must be open.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that keeps checkpoints and tells of the progress."""
        return self.rank == 0

    def share(self, index: Any) -> Any:
        """This process's part of a batch; parts differ by one row at most, and may be empty."""
        return index if self.size == 1 else index.tensor_split(self.size)[self.rank]

    def wrapped(self, model: Any) -> Any:
        """The network, so that its gradients are averaged over all processes after each backward pass."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model)

    def total(self, value: Any) -> float:
        """The sum of a scalar tensor over all processes."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(value)
        return float(value)

    def agreed(self, value: float, device: Any) -> float:
        """What the first process found: all decide on the same number, or they would part ways."""
        if self.size == 1:
            return value
        import torch

        found = torch.tensor(value, dtype=torch.float64, device=device)
        torch.distributed.broadcast(found, src=0)
        return float(found)
