"""Takes newly known rows from a model's source into the landing zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelyard.config.project import load_project
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
    """
    project = load_project(model, platform.settings)
    source = project.spec.source
    # A row known by `end` was asked for at most `settles_days` before; the event at `end` itself is still to come.
    rows = read_source(project, Window(start=start - timedelta(days=source.settles_days), end=end))
    known = rows[source.known_at]
    fresh = rows[known.gt(start) & known.le(end) & rows[project.spec.label.column].notna()]
    return landing_zone(project, platform.settings).add(fresh)
