"""Builds the untrained network of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelyard.config.project import Project
from modelyard.release.signature import Signature
from modelyard.training.params import TrainParams


def builder(project: Project, signature: Signature, params: TrainParams) -> Callable[[], Any]:
    """What builds the untrained network: the project's own ``network``, or the standard one."""
    from modelyard.training import network as standard

    shape = standard.Shape(
        numeric=len(signature.numeric),
        missing=tuple(place for place, i in enumerate(signature.numeric) if i.nullable),
        vocabularies=tuple(len(i.vocabulary) + 1 for i in signature.categorical),
        hidden=params.hidden,
        embedding=params.embedding,
        dropout=params.dropout,
    )
    build = project.code(project.spec.network) if project.spec.network else standard.build
    return lambda: build(shape)
