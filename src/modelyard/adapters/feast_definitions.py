"""Feast's objects for a model, as its ``model.yaml`` declares them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from modelyard.config.project import Project
from modelyard.config.settings import Settings
from modelyard.core.digest import digest_json
from modelyard.features.join import STAMP
from modelyard.features.online import view_name

SCHEMA_TAG = "schema"


def table_path(project: Project, settings: Settings, view: str) -> Path:
    """The offline rows of a view."""
    return settings.home / "features" / project.name / f"{view}.parquet"


def schema(project: Project) -> dict[str, Any]:
    """What the views and the service of a model are, as plain data."""
    spec = project.spec
    views = {
        name: {"entity": view.entity, "ttl_hours": view.ttl_hours, "features": list(spec.of(source=name))}
        for name, view in spec.feature_views.items()
    }
    return {"model": spec.name, "views": views}


def schema_digest(project: Project) -> str:
    """Names the feature service: it changes when the views, their features or times to live do."""
    return digest_json(schema(project))


def definitions(project: Project, settings: Settings) -> list[Any]:
    """Entities, views and the feature service; nothing for a model whose features all come with the request."""
    from feast import Entity, FeatureService, ValueType

    spec = project.spec
    if not spec.views:
        return []
    names = sorted({spec.feature_views[view].entity for view in spec.views})
    entities = {name: Entity(name=name, join_keys=[name], value_type=ValueType.STRING) for name in names}
    views = [_view(project, settings, name, entities) for name in spec.views]
    service = FeatureService(name=spec.name, features=views, tags={SCHEMA_TAG: schema_digest(project)})
    return [*entities.values(), *views, service]


def _view(project: Project, settings: Settings, name: str, entities: dict[str, Any]) -> Any:
    from feast import FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat
    from feast.types import Float64, String

    spec = project.spec
    view, full_name = spec.feature_views[name], view_name(spec.name, name)
    source = FileSource(
        name=full_name,
        path=str(table_path(project, settings, name)),
        timestamp_field=STAMP,
        file_format=ParquetFormat(),
    )
    kinds = {feature: Float64 if spec.features[feature].kind == "numeric" else String for feature in spec.features}
    fields = [Field(name=feature, dtype=kinds[feature]) for feature in spec.of(source=name)]
    return FeatureView(
        name=full_name,
        entities=[entities[view.entity]],
        ttl=timedelta(hours=view.ttl_hours),
        schema=[Field(name=view.entity, dtype=String), *fields],
        source=source,
        online=True,
        description=view.description,
    )
