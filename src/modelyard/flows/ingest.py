"""Takes newly known rows from a model's source into the landing zone."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from modelyard.config.project import Project, load_project
from modelyard.core.errors import ConfigError, Conflict
from modelyard.core.records import AuditEvent
from modelyard.core.window import Window
from modelyard.data.locks import exclusive
from modelyard.data.source import landing_zone, read_source
from modelyard.ports.platform import Platform

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def catch_up(platform: Platform, model: str, as_of: datetime) -> int:
    """Land what became known since the newest landed row, up to ``as_of``; everything, the first time.

    A file is read whole each time: people mend rows in it, and add late ones.
    """
    if load_project(model, platform.settings).spec.source.file:
        return ingest(platform, model, BEGINNING, as_of)
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


def require_in_source(project: Project, landed: pd.DataFrame) -> None:
    """Hold landed rows to the model's file: one that was replaced must not be trained on for what it once held.

    What a loader has released it cannot take back, so nothing is asked of one.

    Raises:
        Conflict: some of the rows are not in the file any more.
    """
    source = project.spec.source
    if not source.file or landed.empty:
        return
    there = read_source(project, Window(start=BEGINNING, end=landed[source.event_time].max() + timedelta(seconds=1)))
    gone = landed[~landed[source.key].isin(there[source.key])]
    if not gone.empty:
        raise Conflict(
            f"{len(gone)} of {len(landed)} landed rows of {project.name} are not in {source.file} any more, for "
            f"instance {source.key} = {gone[source.key].iloc[0]}. Put them back; or, where the file was replaced on "
            f"purpose, forget what has landed: `modelyard data reset {project.name}`."
        )


def reset(platform: Platform, model: str, actor: str, now: datetime) -> Path | None:
    """Forget what has landed of a model: the next snapshot lands its source anew. Snapshots stay as they are.

    Returns where the rows were moved to, or None when there were none.
    """
    project = load_project(model, platform.settings)
    zone = platform.settings.home / "landing" / model
    if not landing_zone(project, platform.settings).days():
        return None
    kept = platform.settings.home / "landing-before-reset" / f"{model}-{now:%Y%m%dT%H%M%SZ}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(zone / ".lock"):
        zone.rename(kept)
    reason = f"the landed rows of {model} were set aside in {kept}"
    event = AuditEvent(at=now, actor=actor, action="data.reset", model=model, subject=model, reason=reason)
    platform.ledger.journal.audit(event)
    return kept


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
