"""How the learning rate moves from step to step."""

from __future__ import annotations

import math
from typing import Any

from modelyard.training.params import TrainParams


def make_schedule(optimiser: Any, params: TrainParams, steps: int) -> Any:
    """The scheduler of torch that ``params.schedule`` names, over ``steps`` steps; ``step()`` follows each of them.

    ``one_cycle`` (Smith and Topin 2017) rises to ``lr`` over the share ``warmup`` of the steps and falls by a cosine to
    next to nothing, with the momentum mirrored. ``cosine`` (Loshchilov and Hutter 2016) rises linearly over the same
    share and falls by a cosine to zero. ``constant`` rises in the same way and stays.
    """
    from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

    if params.schedule == "one_cycle":
        return OneCycleLR(optimiser, params.lr, total_steps=steps, pct_start=params.warmup)
    factor = cosine if params.schedule == "cosine" else constant
    risen = round(params.warmup * steps)
    return LambdaLR(optimiser, lambda step: factor(step, risen, steps))


def constant(step: int, risen: int, _steps: int) -> float:
    """The share of ``lr`` in step ``step`` (from 0): linear up to step ``risen``, then all of it.

    >>> [constant(step, 2, 4) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / risen) if risen else 1.0


def cosine(step: int, risen: int, steps: int) -> float:
    """The share of ``lr`` in step ``step`` (from 0): linear up to ``risen``, then half a cosine down to 0 at ``steps``.

    >>> [round(cosine(step, 1, 4), 2) for step in range(5)]
    [1.0, 1.0, 0.75, 0.25, 0.0]
    """
    if step < risen:
        return (step + 1) / risen
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - risen) / max(1, steps - risen))))
