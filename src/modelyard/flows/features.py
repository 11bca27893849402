"""Builds the feature views, brings them online, and joins them to a snapshot."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from modelyard.config.project import Project, load_project
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError, EvidenceMissing, IntegrityError
from modelyard.core.records import Release
from modelyard.core.window import parse_moment
from modelyard.data.frames import canonical, content_digest, read_parquet, write_parquet, write_text
from modelyard.data.landing import LandingZone
from modelyard.data.locks import exclusive
from modelyard.data.source import landing_zone
from modelyard.features.rolling import full_hours
from modelyard.flows.snapshot import read_valid
from modelyard.ports.platform import Platform
from modelyard.validation.landed import LandedRules, Sound

_log = logging.getLogger(__name__)
_HOUR = timedelta(hours=1)
_SOUND = "_sound"


def build(platform: Platform, model: str, as_of: datetime) -> dict[str, int]:
    """Rebuild the offline rows of all views from what had landed by ``as_of``; returns how many there are, by view.

    Rows that break the contract by themselves are left out (``validation.landed``); how many, and by which rule, is
    logged and kept in ``built.json`` (``left_out``).

    Never forgets: where a later moment was built already, up to that one. Rows are stamped with the moment from which
    they hold, so later ones change nothing of an earlier point-in-time join. Does nothing when nothing has changed.

    Raises:
        EvidenceMissing: nothing had landed.
    """
    project = load_project(model, platform.settings)
    if not project.spec.views:
        return {}
    platform.features.apply(project)
    zone, folder = landing_zone(project, platform.settings), platform.settings.home / "features" / model
    with exclusive(folder / ".lock", wait_seconds=600):
        built = _built(folder / "built.json")
        moment = max(as_of, parse_moment(built["moment"])) if built else as_of
        wanted = {"moment": moment.isoformat(), "landing": zone.version(), "code": project.code_digest}
        if not built or "left_out" not in built or wanted != {key: built[key] for key in wanted}:
            built = wanted | _rebuild(platform, project, zone, moment)
            write_text(json.dumps(built, indent=2), folder / "built.json")
    return dict(built["rows"])


def _built(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _rebuild(platform: Platform, project: Project, zone: LandingZone, moment: datetime) -> dict[str, Any]:
    """``rows`` by view, and ``left_out``: how many landed rows the views are made without, and by which rules."""
    rows = zone.read(None, moment)
    if rows.empty:
        raise EvidenceMissing(f"nothing of {project.name} had landed by {moment.isoformat()}: no views to build")
    sound = _rules(project).judge(rows)
    _tell(project, sound, len(rows))
    if not sound.keep.any():
        raise EvidenceMissing(
            f"all {len(rows)} landed rows of {project.name} break its contract: no views to build ({sound.broken})"
        )
    kept = rows[sound.keep].reset_index(drop=True)
    tables: dict[str, pd.DataFrame] = project.code(project.spec.feature_builder)(kept, None, moment)
    for view in project.spec.views:
        platform.features.write_offline(project, view, tables[view])
    left_out = {"rows": sound.left_out, "by_rule": sound.broken, "not_applied": sound.not_applied}
    return {"rows": {view: len(tables[view]) for view in project.spec.views}, "left_out": left_out}


def _rules(project: Project) -> LandedRules:
    return LandedRules(project.folder, tuple(project.spec.feature_views))


def _tell(project: Project, sound: Sound, rows: int) -> None:
    if sound.left_out:
        by_rule = ", ".join(f"{rule}: {n}" for rule, n in sound.broken.items())
        _log.warning("%s: features are made without %d of %d rows (%s)", project.name, sound.left_out, rows, by_rule)
    for rule, why in sound.not_applied.items():
        _log.warning("%s: rows that break %s are in its features: %s", project.name, rule, why)


def materialize(platform: Platform, model: str, as_of: datetime) -> int:
    """Bring the online store to the values that held at ``as_of`` (views built before); returns the rows looked at."""
    project = load_project(model, platform.settings)
    platform.features.apply(project)
    return platform.features.materialize(project, as_of)


def stream(platform: Platform, model: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Push the rows of each full hour ``h`` with ``start < h <= end`` to the online store, one hour per step.

    An hour is computed when it is asked for, from what has landed by then: ingest up to it first, then ask. The views
    must have been built once. An hour without anything new pushes nothing but is yielded.
    """
    project = load_project(model, platform.settings)
    if not project.spec.views:
        return
    lookback = timedelta(days=project.spec.lookback_days)
    recent = _Recent(landing_zone(project, platform.settings), lookback, _rules(project))
    for hour in full_hours(pd.Timestamp(start), pd.Timestamp(end)):
        moment = hour.to_pydatetime()
        rows = recent.until(moment)
        if not rows.empty:
            tables = project.code(project.spec.feature_builder)(rows, moment - _HOUR, moment)
            platform.features.push(project, {view: tables[view] for view in project.spec.views})
        yield moment


class _Recent:
    """The landed rows that the newest hour looks back on, without those that break the contract; each is read from disk
    and judged once."""

    def __init__(self, zone: LandingZone, length: timedelta, rules: LandedRules) -> None:
        self._zone, self._length, self._rules = zone, length + _HOUR, rules
        self._rows = pd.DataFrame()
        self._until: datetime | None = None

    def until(self, moment: datetime) -> pd.DataFrame:
        """Rows known in the ``length`` before this moment."""
        oldest = moment - self._length
        fresh = self._zone.read(self._until or oldest, moment)
        if not fresh.empty:
            rows = fresh = fresh.assign(**{_SOUND: self._rules.judge(fresh).keep})
            if not self._rows.empty:
                rows = self._zone.newest_of_each(pd.concat([self._rows, fresh], ignore_index=True))
            self._rows = rows[rows[self._zone.known_at] > oldest]
        self._until = moment
        # Only now: a row that a correction has made unsound is left out, and not seen as it was before.
        return self._rows[self._rows[_SOUND]].drop(columns=_SOUND) if len(self._rows) else self._rows


def training_frame(platform: Platform, model: str, content: str) -> tuple[pd.DataFrame, str]:
    """The rows of a valid snapshot with their features as they were at ``event_time``, and the digest of it all.

    Deterministic: the same snapshot and code give the same digest. The frame is kept under it for ``frame_of``.

    Raises:
        Conflict: validation has not admitted the snapshot.
        IntegrityError: rows out != rows in.
    """
    project = load_project(model, platform.settings)
    snapshot, rows = read_valid(platform, content)
    build(platform, model, snapshot.as_of)
    frame = platform.features.training_frame(project, rows)
    digest = _digest(project, frame)
    write_parquet(frame, _kept(platform, model, digest))
    return frame, digest


def frame_of(platform: Platform, release: Release) -> pd.DataFrame:
    """The very frame that a release was trained on: as it was kept, or joined again where it is not at hand.

    Raises:
        Conflict: the release's snapshot is not valid (any more).
        IntegrityError: joined again it is another frame than the one that the release names.
    """
    project, wanted = load_project(release.model, platform.settings), release.parts["training_frame"]
    path = _kept(platform, release.model, wanted)
    if path.is_file():
        read_valid(platform, release.snapshot)
        with suppress(ConfigError, IntegrityError, OSError, ValueError):  # damaged: joined again
            if _digest(project, frame := read_parquet(path)) == wanted:
                return frame
    frame, digest = training_frame(platform, release.model, release.snapshot)
    if digest != wanted:
        raise IntegrityError(
            f"version {release.version} was trained on frame {short(wanted)}; joining its snapshot now gives "
            f"{short(digest)}, so what is measured on it would not be about that version; train a new one"
        )
    return frame


def _digest(project: Project, frame: pd.DataFrame) -> str:
    return content_digest(canonical(frame, project.spec.source.key), name=project.name)


def _kept(platform: Platform, model: str, digest: str) -> Path:
    return platform.settings.home / "features" / model / "frames" / f"{digest.removeprefix('sha256:')}.parquet"
