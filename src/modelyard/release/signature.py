"""The signature of a served model: its inputs in order, how raw values become model values, its output."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.config.project import Name
from modelyard.core.value import Finite, Value

UNKNOWN_CODE = 0
"""The code of a category that the vocabulary does not have, and of a missing one."""


class Input(Value):
    """One feature.

    ``source`` is ``request`` or a feature view. A numeric value enters the model as ``raw * scale + offset`` (a unit
    conversion at serving; NaN where missing and ``nullable``). A category enters as its place in ``vocabulary``
    counted from 1, or ``UNKNOWN_CODE``. ``low`` and ``high`` bound the raw values that the gateway accepts.
    """

    name: Name
    kind: Literal["numeric", "categorical"]
    source: Name
    nullable: bool = False
    low: Finite | None = None
    high: Finite | None = None
    scale: Finite = 1.0
    offset: Finite = 0.0
    vocabulary: tuple[str, ...] = ()


class Signature(Value):
    """Inputs (numeric and categorical each in this order), the routing key, the output.

    ``entities`` maps each join key of the feature views to the request's field that holds it, by view.
    """

    model: str
    inputs: tuple[Input, ...] = Field(min_length=1)
    key: str
    output: str = "probability"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    entities: dict[Name, dict[Name, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [i.name for i in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError("two inputs share a name")
        return self

    @property
    def numeric(self) -> tuple[Input, ...]:
        """The numeric inputs, in the order of the model's ``numeric`` tensor."""
        return tuple(i for i in self.inputs if i.kind == "numeric")

    @property
    def categorical(self) -> tuple[Input, ...]:
        """The categorical inputs, in the order of the model's ``categorical`` tensor."""
        return tuple(i for i in self.inputs if i.kind == "categorical")


class Calibration(Value):
    """Platt scaling: ``p = sigmoid(a * logit + b)`` (Platt 1999); ``a`` is positive so that ranking is kept."""

    method: Literal["platt"] = "platt"
    a: float = Field(gt=0, allow_inf_nan=False)
    b: Finite
