"""The network of the flights: the standard one. Any module that takes a ``Shape`` and gives logits may stand here."""

from __future__ import annotations

from modelyard.training.network import Shape, TabularNetwork


def build(shape: Shape) -> TabularNetwork:
    """An untrained network for inputs of this shape (see ``modelyard.training.network`` for the contract)."""
    return TabularNetwork(shape)
