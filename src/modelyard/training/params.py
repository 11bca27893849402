"""The numbers that change a model: a section of ``params.yaml``, parsed once and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelyard.config.errors import config_error
from modelyard.core.digest import digest_json


class TrainParams(BaseModel):
    """What a training may be told. A key that is not listed here is an error.

    The window is cut by time into ``fit | validation | evaluation | settling``. The ``evaluation_days`` are never seen
    by the fitting; the ``validation_days`` before them stop it and fit the calibration. Of the last ``settle_hours``
    only the quickest outcomes are known (late flights have not landed), which would flatter any model: left out.

    ``schedule`` and ``warmup``: see ``training.schedule``. A step's gradient is that of ``batch_size`` rows, taken
    ``micro_batch`` rows at a time (0: all at once). ``precision`` ``auto`` is bfloat16 on GPUs that have it, else
    float32. ``compiled`` is a backend of ``torch.compile``. ``processes`` fit together (0: one for each GPU, one on the
    CPU). ``checkpoint_seconds`` is how much work an interrupted training may lose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(default=84, ge=2)
    validation_days: int = Field(default=7, ge=1)
    evaluation_days: int = Field(default=7, ge=1)
    settle_hours: int = Field(default=12, ge=0, le=24 * 90)
    epochs: int = Field(default=6, ge=1, le=1000)
    patience: int = Field(default=6, ge=1)
    batch_size: int = Field(default=1024, ge=2)
    lr: float = Field(default=0.002, gt=0, le=1)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = Field(default=0.2, ge=0, lt=1)
    weight_decay: float = Field(default=2.0, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    hidden: tuple[int, ...] = Field(default=(128, 64), min_length=1)
    embedding: int = Field(default=8, ge=1)
    rare: int = Field(default=20, ge=1, description="a category seen less often shares the code of unknown ones")
    calibration_shrinkage: float = Field(default=0.5, ge=0, le=1)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    micro_batch: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compiled: Literal["off", "inductor", "aot_eager"] = "off"
    processes: int = Field(default=0, ge=0, le=64)
    checkpoint_seconds: float = Field(default=30.0, ge=0)

    @model_validator(mode="after")
    def _days_fit(self) -> Self:
        held = self.validation_days + self.evaluation_days + self.settle_hours / 24
        if held >= self.window_days:
            days = "validation_days + evaluation_days + settle_hours"
            raise ValueError(f"{days} = {held:g} days leave nothing of window_days = {self.window_days}")
        return self

    @property
    def digest(self) -> str:
        """The digest that releases cite."""
        return digest_json(self.model_dump(mode="json"))


def read_params(section: Mapping[str, Any], *, model: str, overrides: Mapping[str, Any] | None = None) -> TrainParams:
    """The model's section of ``params.yaml``, with a run's own numbers over it.

    Raises:
        ConfigError: a key is unknown or a value is not accepted.
    """
    try:
        return TrainParams.model_validate({**section, **(overrides or {})})
    except ValidationError as error:
        raise config_error(error, TrainParams, where=f"params of {model}") from None
