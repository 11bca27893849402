"""Where rows lie while a network is fitted, and how a batch of them is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.release.encode import Tensors

MOST_OF_FREE_MEMORY = 0.5
"""Rows that would fill more of a GPU's free memory stay on the host, and each batch is sent over."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Inputs by name and labels as tensors, where they lie; ``device`` is where the network is."""

    feeds: dict[str, Any]
    label: Any
    device: Any

    def __len__(self) -> int:
        return int(self.label.shape[0])

    def take(self, index: Any) -> tuple[dict[str, Any], Any]:
        """The rows of an index, on the device: one gather for each tensor, no loop over rows."""
        index = index.to(self.label.device)
        feeds = {name: tensor[index].to(self.device, non_blocking=True) for name, tensor in self.feeds.items()}
        return feeds, self.label[index].to(self.device, non_blocking=True)


def place(feeds: Tensors, label: Any, device: str) -> Placed:
    """Put rows on the device; on the host, in pinned memory, where the GPU has no room for them."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    labels = torch.from_numpy(label)
    target = torch.device(device)
    if target.type == "cuda":
        size = sum(t.numel() * t.element_size() for t in (*tensors.values(), labels))
        if size > MOST_OF_FREE_MEMORY * torch.cuda.mem_get_info(target)[0]:
            return Placed({name: t.pin_memory() for name, t in tensors.items()}, labels.pin_memory(), target)
    return Placed({name: t.to(target) for name, t in tensors.items()}, labels.to(target), target)
