"""The signature of a model, from its ``model.yaml`` and the rows it is fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from modelyard.config.project import ModelSpec
from modelyard.core.errors import ConfigError
from modelyard.release.encode import category
from modelyard.release.signature import Input, Signature
from modelyard.training.params import TrainParams


def learn_signature(spec: ModelSpec, rows: pd.DataFrame, params: TrainParams) -> Signature:
    """The inputs in the order of ``model.yaml``; a vocabulary holds the categories that are not rare in ``rows``.

    Raises:
        ConfigError: the rows lack a feature.
    """
    return Signature(
        model=spec.name,
        inputs=tuple(_input(spec, name, rows, params) for name in spec.features),
        key=spec.source.key,
        threshold=params.threshold,
        entities={
            name: {view.entity: spec.entities[view.entity]}
            for name, view in spec.feature_views.items()
            if name in spec.views
        },
    )


def _input(spec: ModelSpec, name: str, rows: pd.DataFrame, params: TrainParams) -> Input:
    if name not in rows.columns:
        raise ConfigError(name, "<missing>", "a column for every feature of model.yaml", where="training frame")
    feature = spec.features[name]
    return Input(
        name=name,
        kind=feature.kind,
        source=feature.source,
        nullable=feature.nullable,
        low=feature.min,
        high=feature.max,
        vocabulary=_vocabulary(rows[name], params.rare) if feature.kind == "categorical" else (),
    )


def _vocabulary(column: pd.Series, rare: int) -> tuple[str, ...]:
    counts = column.map(category).value_counts()
    return tuple(sorted(str(name) for name, times in counts.items() if name and times >= rare))


def with_serving_units(signature: Signature, units: Mapping[str, Mapping[str, Any]]) -> Signature:
    """The same model, told that the gateway receives some numbers in other units: model value = raw * scale + offset.

    Raises:
        ConfigError: a feature is unknown or not numeric, or a key is not ``scale`` or ``offset``.
    """
    numeric = [i.name for i in signature.numeric]
    for name, change in units.items():
        if name not in numeric:
            raise ConfigError("serving_units", name, numeric, where="overrides")
        for key, value in change.items():
            if key not in ("scale", "offset"):
                raise ConfigError(f"serving_units.{name}", key, ("scale", "offset"), where="overrides")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"serving_units.{name}.{key}", value, "a number", where="overrides")
    inputs = tuple(
        i.model_copy(update={key: float(value) for key, value in units.get(i.name, {}).items()})
        for i in signature.inputs
    )
    return Signature.model_validate(signature.model_copy(update={"inputs": inputs}).to_dict())
