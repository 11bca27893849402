"""The standard tabular network: imputation, scaling and embeddings are part of it, so serving needs none of them.

``torch`` is imported by whoever asks for a network, never by importing the platform; this module is therefore loaded
inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Classes need their base at module scope; nothing but functions that fit a network import this module.
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

CLIP = 6.0
"""Standardised values beyond this many standard deviations are cut: a broken sensor must not own the logit."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a network has to be built for. ``vocabularies`` holds the number of codes of each category, with unknown.

    ``missing`` are the places of the numeric inputs that may be missing: each gets an indicator of its own.
    """

    numeric: int
    missing: tuple[int, ...]
    vocabularies: tuple[int, ...]
    hidden: tuple[int, ...]
    embedding: int
    dropout: float


class TabularNetwork(nn.Module):  # type: ignore[misc]  # torch is not followed
    """An MLP over standardised numbers, missing indicators and embeddings; answers one logit per row.

    A missing number becomes the mean of the fitting rows. ``numeric`` is float32 [n, k] with NaN for missing,
    ``categorical`` int64 [n, c] with code 0 for unknown; an input that the model does not have is left out.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape.numeric))
        self.register_buffer("scale", torch.ones(shape.numeric))
        self.register_buffer("missing", torch.tensor(shape.missing, dtype=torch.int64))
        self.embeddings = nn.ModuleList(nn.Embedding(n, width(n, shape.embedding)) for n in shape.vocabularies)
        wide = shape.numeric + len(shape.missing) + sum(width(n, shape.embedding) for n in shape.vocabularies)
        self.body = nn.Sequential(*_layers(wide, shape.hidden, shape.dropout))
        self.head = nn.Linear(shape.hidden[-1], 1)
        for table in self.embeddings:
            nn.init.normal_(table.weight, std=0.05)

    def adapt(self, numeric: Tensor) -> None:
        """Learn mean and scale of each number from the fitting rows, leaving the missing out."""
        if not numeric.shape[1]:
            return
        numeric = numeric.detach()
        present = ~torch.isnan(numeric)
        count = present.sum(0).clamp(min=1)
        values = torch.where(present, numeric, 0.0).double()
        mean = values.sum(0) / count
        deviation = torch.where(present, numeric.double() - mean, 0.0).square().sum(0) / count
        self.mean.copy_(mean)
        self.scale.copy_(deviation.sqrt().clamp(min=1e-6))

    def forward(self, numeric: Tensor | None = None, categorical: Tensor | None = None) -> Tensor:
        """The logit of each row, [n]."""
        parts: list[Tensor] = []
        if numeric is not None:
            absent = torch.isnan(numeric)
            scaled = ((numeric - self.mean) / self.scale).clamp(-CLIP, CLIP)
            parts.append(torch.where(absent, torch.zeros_like(scaled), scaled))
            if self.missing.shape[0]:
                parts.append(absent[:, self.missing].to(scaled.dtype))
        if categorical is not None:
            parts += [table(categorical[:, i]) for i, table in enumerate(self.embeddings)]
        return self.head(self.body(torch.cat(parts, dim=1))).squeeze(1)


def width(codes: int, most: int) -> int:
    """The width of an embedding: the rule of thumb 1.6 * n**0.56, at most ``most``.

    >>> width(3, 8), width(100, 8)
    (3, 8)
    """
    wanted: float = 1.6 * codes**0.56
    return max(1, min(most, round(wanted)))


def _layers(wide: int, hidden: Sequence[int], dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(wide, size), nn.SiLU(), nn.Dropout(dropout)]
        wide = size
    return layers


def build(shape: Shape) -> TabularNetwork:
    """The network that ``model.yaml`` gets when it names none."""
    return TabularNetwork(shape)
