"""Takes newly known rows from a model's source into the landing zone."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pandas as pd

from modelyard.config.project import Project, load_project
from modelyard.core.errors import ConfigError
from modelyard.core.window import Window
from modelyard.data.source import landing_zone, read_source
from modelyard.ports.platform import Platform

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def catch_up(platform: Platform, model: str, as_of: datetime) -> int:
    """Land what became known since the newest landed row, up to ``as_of``; everything, the first time."""
    newest = landing_zone(load_project(model, platform.settings), platform.settings).newest()
    if newest is not None and newest >= as_of:
        return 0
    # The newest moment again: other rows may have become known at that very moment.
    return ingest(platform, model, newest - timedelta(seconds=1) if newest else BEGINNING, as_of)


def ingest(platform: Platform, model: str, start: datetime, end: datetime) -> int:
    """Land the rows whose outcome became known in ``(start, end]``; returns how many are new or changed.

    Idempotent: the same hours again land nothing. Rows whose outcome never becomes known never land.

    Raises:
        ConfigError: an outcome took longer than ``settles_days``. The source is read back twice as far to notice it.
    """
    project = load_project(model, platform.settings)
    source = project.spec.source
    # A row known by `end` was asked for at most `settles_days` before; the event at `end` itself is still to come.
    rows = read_source(project, Window(start=start - 2 * timedelta(days=source.settles_days), end=end))
    _require_settled(project, rows[rows[source.known_at].le(end)])
    known = rows[source.known_at]
    fresh = rows[known.gt(start) & known.le(end) & rows[project.spec.label.column].notna()]
    return landing_zone(project, platform.settings).add(fresh)


def _require_settled(project: Project, rows: pd.DataFrame) -> None:
    """Beyond ``settles_days`` rows would be left out without a word, and with them the slowest outcomes."""
    source = project.spec.source
    took = rows[source.known_at] - rows[source.event_time]
    if rows.empty or took.max() <= timedelta(days=source.settles_days):
        return
    slowest = rows[source.key].iloc[int(took.argmax())]
    days = math.ceil(took.max() / timedelta(days=1))
    accepted = f"{days} or more: the outcome of {slowest} took that many days to be known"
    raise ConfigError("source.settles_days", source.settles_days, accepted, where=str(project.folder / "model.yaml"))
