"""Takes a snapshot: the rows of a window as they were known at a moment, as one immutable version."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from modelyard.config.project import Project, load_project
from modelyard.core.errors import ConfigError, Conflict, EvidenceMissing
from modelyard.core.records import Snapshot
from modelyard.core.window import Window
from modelyard.data.source import landing_zone
from modelyard.flows import bad_rows
from modelyard.flows.ingest import catch_up, require_in_source
from modelyard.ports.platform import Platform


def take(platform: Platform, model: str, as_of: datetime, window: Window | None = None) -> Snapshot:
    """Fix the rows of the window that were known by ``as_of``; by default the model's ``window_days`` before it.

    What the source has released since the last time is landed first.

    The same rows again are the same snapshot: taking one twice is harmless.

    Raises:
        EvidenceMissing: nothing of the window has landed.
        Conflict: rows have landed that are not in the model's file any more.
    """
    project = load_project(model, platform.settings)
    catch_up(platform, model, as_of)
    window = window or Window.last(timedelta(days=window_days(project)), before=as_of)
    rows = landing_zone(project, platform.settings).snapshot(window, as_of)
    if rows.empty:
        raise EvidenceMissing(
            f"no row of {model} in {window} was known by {as_of.isoformat()}; see the source in its model.yaml"
        )
    require_in_source(project, rows)
    snapshot = platform.datasets.put(model, window, as_of, rows)
    platform.ledger.snapshots.add(snapshot)
    return snapshot


def read_valid(platform: Platform, content: str) -> tuple[Snapshot, pd.DataFrame]:
    """A snapshot and its rows, if validation has admitted it: the only way by which training reads data.

    Rows that validation has set aside are not among them.

    Raises:
        Conflict: the snapshot is not validated yet, or is quarantined.
        IntegrityError: which rows are set aside cannot be told any more.
    """
    state = platform.ledger.snapshots.state(content)
    if state != "valid":
        raise Conflict(f"snapshot {content} is {state}; only valid ones may be read (`modelyard data validate`)")
    snapshot = platform.ledger.snapshots.get(content)
    return snapshot, bad_rows.without(platform, snapshot, platform.datasets.read(snapshot))


def window_days(project: Project) -> float:
    """How many days of rows the model is trained on."""
    days = project.params.get("window_days")
    if not isinstance(days, int | float) or days <= 0:
        raise ConfigError(f"{project.name}.window_days", days, "a number of days above 0", where="params.yaml")
    return float(days)
