"""Reads a model's source, be it a function in its folder or a file, and holds it to what ``model.yaml`` says."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from modelyard.config.project import Project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.core.window import Window
from modelyard.data.landing import LandingZone


def read_source(project: Project, window: Window) -> pd.DataFrame:
    """Rows with ``event_time`` in the window; moments in UTC. Rows whose outcome is not known yet lack ``known_at``.

    Raises:
        ConfigError: a column that ``model.yaml`` names is missing, or a moment cannot be read.
    """
    source = project.spec.source
    if source.loader:
        rows: pd.DataFrame = project.code(source.loader)(window)
        _require_columns(project, rows, source.loader)
    else:
        path = project.folder / source.file
        if not path.is_file():
            raise ConfigError("source.file", source.file, "an existing CSV or Parquet file", where=str(project.folder))
        rows = _read_file(path, path.stat().st_mtime_ns)
        _require_columns(project, rows, source.file)
    rows = rows.assign(**{name: _utc(project, rows[name]) for name in (source.event_time, source.known_at)})
    asked = rows[source.event_time]
    return rows[asked.ge(window.start) & asked.lt(window.end)].reset_index(drop=True)


def landing_zone(project: Project, settings: Settings) -> LandingZone:
    """The landing zone of a model."""
    source = project.spec.source
    folder = settings.home / "landing" / project.name
    return LandingZone(folder, key=source.key, event_time=source.event_time, known_at=source.known_at)


@lru_cache(maxsize=4)
def _read_file(path: Path, _mtime_ns: int) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def _require_columns(project: Project, rows: pd.DataFrame, where: str) -> None:
    spec = project.spec
    needed = {
        "source.event_time": spec.source.event_time,
        "source.known_at": spec.source.known_at,
        "source.key": spec.source.key,
        "label.column": spec.label.column,
        **{f"entities.{name}": column for name, column in spec.entities.items()},
        **{f"features.{name}": name for name in spec.of(source="request")},
    }
    for key, column in needed.items():
        if column not in rows:
            columns = [str(c) for c in rows.columns]
            raise ConfigError(key, column, columns, where=f"{project.folder / 'model.yaml'} and {where}")


def _utc(project: Project, column: pd.Series) -> pd.Series:
    try:
        moments = pd.to_datetime(column, utc=True, format="ISO8601") if column.dtype == object else column
        if getattr(moments.dtype, "tz", None) is None:
            moments = pd.to_datetime(moments).dt.tz_localize("UTC")
        return moments.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(str(column.name), str(error), "moments in ISO 8601", where=str(project.folder)) from None
