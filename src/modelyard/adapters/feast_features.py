"""Feast: ``ports.features.Features``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from modelyard.adapters.feast_definitions import SCHEMA_TAG, definitions, schema_digest, table_path
from modelyard.adapters.online_writer import OnlineWriter, conninfo
from modelyard.config.project import Project
from modelyard.config.settings import Settings
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.data.frames import write_parquet
from modelyard.data.locks import exclusive
from modelyard.features.join import STAMP
from modelyard.features.online import View, views_of

if TYPE_CHECKING:
    from feast import FeatureStore

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_ROW = "__row"


class FeastFeatures:
    """The feature store of ``feature_repo``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _store(self) -> FeatureStore:
        feast = load()
        return feast.FeatureStore(repo_path=str(self._settings.feature_repo))

    @cached_property
    def _writer(self) -> OnlineWriter:
        return OnlineWriter(conninfo(self._settings.feature_repo))

    def apply(self, project: Project) -> str:
        """Register entities, views and the feature service of a model; returns the service's schema digest.

        Costs one look at the registry when nothing has changed.
        """
        digest = schema_digest(project)
        if not project.spec.views:
            return digest
        with exclusive(self._settings.home / "features" / ".lock"):
            if self._registered(project) != digest:
                self._store.apply(definitions(project, self._settings))
                self._store.refresh_registry()
        return digest

    def _registered(self, project: Project) -> str | None:
        services = {service.name: service for service in self._store.list_feature_services()}
        return services[project.name].tags.get(SCHEMA_TAG) if project.name in services else None

    def training_frame(self, project: Project, rows: pd.DataFrame) -> pd.DataFrame:
        """Point-in-time join of the model's views to the rows by entity and ``event_time``; same rows, same order.

        Raises:
            IntegrityError: rows out != rows in.
        """
        spec = project.spec
        if not spec.views:
            return rows.reset_index(drop=True)
        asked = rows[spec.source.event_time].rename(STAMP).to_frame()
        for join_key in sorted({spec.feature_views[view].entity for view in spec.views}):
            asked[join_key] = rows[spec.entities[join_key]].astype(str)
        # Rows that ask the same are asked once: Feast would multiply them.
        number = asked.groupby(list(asked.columns), sort=False, dropna=False).ngroup().to_numpy()
        distinct = asked.drop_duplicates().reset_index(drop=True)
        distinct[_ROW] = range(len(distinct))
        found = self._history(project, distinct)
        names = [name for view in spec.views for name in spec.of(source=view)]
        answers = found.set_index(_ROW).sort_index()[names].iloc[number].reset_index(drop=True)
        return rows.reset_index(drop=True).join(answers)

    def _history(self, project: Project, asked: pd.DataFrame) -> pd.DataFrame:
        service = self._store.get_feature_service(project.name)
        found: pd.DataFrame = self._store.get_historical_features(entity_df=asked, features=service).to_df()
        if len(found) != len(asked) or found[_ROW].nunique() != len(asked):
            raise IntegrityError(f"the point-in-time join answered {len(found)} rows of {len(asked)}")
        return found

    def write_offline(self, project: Project, view: str, rows: pd.DataFrame) -> None:
        """Replace the offline rows of a view (atomically)."""
        write_parquet(_checked(project, view, rows), table_path(project, self._settings, view))

    def materialize(self, project: Project, as_of: datetime) -> int:
        """Bring the online store to the newest values known at ``as_of``; returns how many rows held then.

        Idempotent. A value that is newer than ``as_of`` stays.

        Raises:
            NotFound: a view has no offline rows yet.
        """
        return self._writer.write({view: self._holding(project, view, as_of) for view in views_of(project.spec)})

    def _holding(self, project: Project, view: View, as_of: datetime) -> pd.DataFrame:
        path = table_path(project, self._settings, view.name)
        if not path.is_file():
            raise NotFound("offline table of feature view", view.name, hint="Build the views first.")
        oldest = as_of - view.ttl if view.ttl else _BEGINNING
        filters = [(STAMP, ">=", oldest), (STAMP, "<=", as_of)]
        return pd.read_parquet(path, columns=[view.join_key, STAMP, *view.features], filters=filters)

    def push(self, project: Project, tables: Mapping[str, pd.DataFrame]) -> int:
        """Stream newer rows of some views into the online store, all or none; returns how many."""
        views = {view.name: view for view in views_of(project.spec)}
        return self._writer.write({views[name]: _checked(project, name, rows) for name, rows in tables.items()})

    def online(self, project: Project, entities: Sequence[Mapping[str, object]]) -> pd.DataFrame:
        """Current online values through the store's own SDK, one row per entity row (for parity tests)."""
        service = self._store.get_feature_service(project.name)
        answer = self._store.get_online_features(features=service, entity_rows=[dict(e) for e in entities])
        found: pd.DataFrame = answer.to_df()
        return found


def _columns(project: Project, view: str) -> list[str]:
    return [project.spec.feature_views[view].entity, STAMP, *project.spec.of(source=view)]


def _checked(project: Project, view: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The view's columns and no others, with one type each."""
    columns = _columns(project, view)
    if absent := [name for name in columns if name not in rows]:
        raise NotFound(f"column of the rows of view {view}:", ", ".join(absent), known=map(str, rows.columns))
    numeric = [n for n in project.spec.of(source=view) if project.spec.features[n].kind == "numeric"]
    types: dict[str, Any] = {columns[0]: str, STAMP: "datetime64[us, UTC]", **dict.fromkeys(numeric, "float64")}
    return rows[columns].astype(types).reset_index(drop=True)


def load() -> Any:
    """Import Feast.

    Costs seconds; who forks does it once for its children.
    """
    # Feast sets this where it is unset, and would push our own prometheus client into its multi-process mode.
    before = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    os.environ.setdefault("FEAST_USAGE", "False")
    import feast

    if before is None:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    return feast
