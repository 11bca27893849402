"""What the drift check compares with: the champion's own evaluation, and its first week under traffic.

The first week is ``length_hours`` of the labelled windows from the champion's training on. It is a function of the
champion alone once its outcomes have had another week to come, and is read only by then; ``first-week`` beside the
hours' profiles keeps what was measured of it.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelyard.config.project import load_project
from modelyard.core.digest import digest_json
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.records import Release
from modelyard.core.value import Value
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.data.source import landing_zone
from modelyard.drift.concept import DROPS
from modelyard.drift.importance import IMPORTANCE
from modelyard.drift.operations import LATENCY, measure_latency
from modelyard.drift.policy import DriftPolicy
from modelyard.drift.quality import measure_quality
from modelyard.drift.upstream import VOLUME, measure_landing, measure_schema, measure_volume
from modelyard.drift.usage import NAMES as USED
from modelyard.drift.usage import measure_usage, unknown, whole_hours
from modelyard.flows.evaluate import read_evidence
from modelyard.ports.platform import Platform
from modelyard.release.encode import category
from modelyard.release.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

MOST_SLICES = 50
"""Of a feature that slices, so many most frequent values are measured, as in the evaluation."""


class _Kept(Value):
    measurements: tuple[Measurement, ...]


def observe(
    platform: Platform, champion: Release, signature: Signature, log: pd.DataFrame, policy: DriftPolicy, as_of: datetime
) -> dict[str, tuple[Measurement, ...]]:
    """The fields ``baseline``, ``slices``, ``operations``, ``upstream`` and ``importance`` of the governor's signals.

    ``log`` has the requests of all versions from the oldest labelled window on, with the labels known by ``as_of``.
    """
    own = log[log["version"] == champion.version]
    day = Window.last(timedelta(hours=policy.operations.window_hours), as_of)
    today = Window.last(timedelta(days=1), as_of)
    mine = own[(own["event_time"] >= day.start) & (own["event_time"] < day.end)]
    evaluated = _evaluation(platform, champion)
    week = _first_week(platform, champion, signature, policy, as_of, before=day.start)
    latency = measure_latency(mine, window=day, subject=champion.digest, min_rows=policy.operations.min_rows)
    zone = landing_zone(load_project(champion.model, platform.settings), platform.settings)
    numeric, categorical = ([i.name for i in inputs] for inputs in (signature.numeric, signature.categorical))
    own_quality = [m for m in evaluated if m.name in DROPS] or [m for m in week if m.name in DROPS]
    return {
        "baseline": tuple(own_quality),
        "slices": _slices(platform, champion, signature, own, policy.windows.before(as_of)[0], 30),
        "operations": (
            latency,
            *(m for m in week if m.name == LATENCY),
            *_usage(platform, champion, log, day, policy.operations.min_rows),
            *(m for m in week if m.name in USED),
        ),
        "upstream": (
            measure_volume(log, today),
            *(m for m in week if m.name == VOLUME),
            measure_landing(zone.newest(), as_of),
            *measure_schema(mine, numeric, categorical),
        ),
        "importance": tuple(m for m in evaluated if m.name == IMPORTANCE),
    }


def _evaluation(platform: Platform, champion: Release) -> list[Measurement]:
    """What the gates judged of the champion when it was released; empty where nothing of it was kept."""
    for decision in reversed(platform.ledger.journal.decisions(champion.model, "gates", champion.digest)):
        for digest in decision.evidence:
            try:
                kept = read_evidence(platform, champion.model, digest)
            except NotFound:
                continue
            if kept.release == champion.digest:
                return [m for m in kept.measurements if m.subject == champion.digest and not m.variant]
    return []


def _slices(
    platform: Platform, champion: Release, signature: Signature, own: pd.DataFrame, window: Window, least: int
) -> tuple[Measurement, ...]:
    """Quality of the window's labelled rows by the slices of ``model.yaml`` that are in the log."""
    rows = own[(own["event_time"] >= window.start) & (own["event_time"] < window.end) & own["label"].notna()]
    found: list[Measurement] = []
    for feature in load_project(champion.model, platform.settings).spec.slices:
        values = rows[feature].map(category) if feature in rows else rows["label"].iloc[:0]
        for value in values.value_counts().index[:MOST_SLICES]:
            part = measure_quality(
                rows[values == value],
                window=window,
                threshold=signature.threshold,
                min_labels=least,
                subject=champion.digest,
            )
            named = {"slice": f"{feature}={value}"}
            found += [m.model_copy(update=named) for m in part if m.name in {*DROPS, "calibration_gap"}]
    return tuple(found)


def _usage(
    platform: Platform, champion: Release, log: pd.DataFrame, window: Window, min_rows: int
) -> tuple[Measurement, ...]:
    """What answers cost, and failed, in the full hours of the window; ``log`` has all versions' requests of them."""
    hours, about = whole_hours(window), {"subject": champion.digest}
    if hours is None:
        return unknown("the window has no full hour", window, **about)
    try:
        counted = platform.predictions.usage(champion.model, hours)
    except IntegrityError as error:
        return unknown(str(error), hours, **about)
    logged = int(((log["event_time"] >= hours.start) & (log["event_time"] < hours.end)).sum())
    return measure_usage(counted, window=hours, version=champion.version, logged=logged, min_rows=min_rows, **about)


def _first_week(
    platform: Platform, champion: Release, signature: Signature, policy: DriftPolicy, as_of: datetime, before: datetime
) -> tuple[Measurement, ...]:
    start, length = champion.as_of, timedelta(hours=policy.windows.length_hours)
    window, settled = Window(start=start, end=start + length), start + 2 * length
    if settled > min(as_of, before):
        why = f"the first {policy.windows.length_hours} h of this version, until {window.end:%Y-%m-%dT%H:%MZ}, "
        return _unknown(window, champion, f"{why}and as much for its outcomes, are not over")
    asked = {"release": champion.digest, "window": str(window), "settled": settled.isoformat(), "format": 3}
    asked |= {"min_rows": policy.operations.min_rows, "min_labels": policy.calibration.min_labels}
    name = digest_json(asked).removeprefix("sha256:")
    path = platform.settings.home / "profiles" / champion.model / "first-week" / f"{name}.json"
    if (kept := _read(path)) is not None:
        return kept
    log = platform.predictions.joined(champion.model, window, settled)
    own = log[log["version"] == champion.version]
    about: dict[str, Any] = {"window": window, "subject": champion.digest}
    quality = measure_quality(own, threshold=signature.threshold, min_labels=policy.calibration.min_labels, **about)
    sliced = _slices(platform, champion, signature, own, window, 30)
    found = (
        *quality,
        *sliced,
        measure_latency(own, min_rows=policy.operations.min_rows, **about),
        measure_volume(log, window),
        *_usage(platform, champion, log, window, policy.operations.min_rows),
    )
    found = tuple(m.model_copy(update={"variant": "baseline"}) for m in found)
    _write(path, _Kept(measurements=found))
    return found


def _unknown(window: Window, champion: Release, why: str) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(name=name, value=None, why=why, variant="baseline", window=window, subject=champion.digest)
        for name in (*DROPS, LATENCY, VOLUME, *USED)
    )


def _read(path: Path) -> tuple[Measurement, ...] | None:
    """What was kept; a file that cannot be read is measured anew."""
    try:
        return _Kept.from_json(path.read_bytes()).measurements
    except (OSError, ValidationError, ValueError):
        return None


def _write(path: Path, kept: Value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(kept.to_json())
    scratch.replace(path)
