"""What a retraining would have gained, measured: two fits of a cheap model, compared on the labels that came since.

For each whole step since the champion's training, one probe is fitted on what the champion was trained on and one on
what it would be trained on at the step's start; the gain is the difference of their losses on the step's rows. A step
is measured once, when its outcomes have settled, and kept with the checks: an estimate costs seconds, each check none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from modelyard.config.project import Project, load_project
from modelyard.core.errors import EvidenceMissing, ModelyardError
from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.governor import GAIN_MEASURED
from modelyard.drift.policy import GainRule
from modelyard.flows.probe import Forecast, fit_probe
from modelyard.flows.snapshot import window_days
from modelyard.ports.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

FRAME = "training_frame"


def steps(trained_until: datetime, as_of: datetime, rule: GainRule, settle_hours: int) -> tuple[Window, ...]:
    """The steps that have settled by ``as_of``, oldest first; the first step after the training has no newer fit."""
    length, settled = timedelta(hours=rule.step_hours), as_of - timedelta(hours=settle_hours)
    found, start = [], trained_until + length
    while start + length <= settled:
        found.append(Window(start=start, end=start + length))
        start += length
    return tuple(found)


def measure_gains(
    platform: Platform,
    champion: Release,
    rule: GainRule,
    earlier: Iterable[Measurement],
    as_of: datetime,
    settle_hours: int,
) -> tuple[Measurement, ...]:
    """One ``retraining_gain`` for each settled step, oldest first; what ``earlier`` checks measured is kept.

    A step that cannot be measured has no value and says why; it is not tried again.
    """
    due = steps(champion.as_of, as_of, rule, settle_hours)
    known = {m.window: m for m in earlier if m.subject == champion.digest and m.name == GAIN_MEASURED and m.window}
    missing = [window for window in due if window not in known]
    if missing:
        known |= dict(zip(missing, _measure(platform, champion, missing, as_of), strict=True))
    return tuple(known[window] for window in due)


def _measure(platform: Platform, champion: Release, due: list[Window], as_of: datetime) -> list[Measurement]:
    try:
        rows = _rows(platform, champion, as_of)
        project = load_project(champion.model, platform.settings)
        old = _fit(project, rows, champion.as_of)
    except (ModelyardError, OSError) as error:
        return [_unknown(champion, window, str(error)) for window in due]
    return [_compare(project, champion, rows, old, window) for window in due]


def _compare(project: Project, champion: Release, rows: pd.DataFrame, old: Forecast, window: Window) -> Measurement:
    ahead = rows[(rows["event_time"] >= window.start) & (rows["event_time"] < window.end)]
    if ahead.empty:
        return _unknown(champion, window, "no request of these days has an outcome")
    try:
        new = _fit(project, rows, window.start)
    except EvidenceMissing as error:
        return _unknown(champion, window, str(error))
    label = ahead["label"].to_numpy(dtype=np.float64)
    losses = [np.logaddexp(0.0, z) - label * z for z in (old(ahead), new(ahead))]
    gain = float((losses[0] - losses[1]).mean())
    return Measurement(name=GAIN_MEASURED, value=gain, n=len(ahead), window=window, subject=champion.digest)


def _fit(project: Project, rows: pd.DataFrame, moment: datetime) -> Forecast:
    """A probe on the model's window as it was known at a moment."""
    start = moment - timedelta(days=window_days(project))
    seen = rows[(rows["event_time"] >= start) & (rows["event_time"] < moment) & (rows["known_at"] <= moment)]
    return fit_probe(project.spec, seen, seen["label"].to_numpy(dtype=np.float64))


def _rows(platform: Platform, champion: Release, as_of: datetime) -> pd.DataFrame:
    """What the champion was trained on, and what was asked since and has an outcome, with the model's features."""
    import pandas as pd

    from modelyard.flows.features import frame_of

    spec = load_project(champion.model, platform.settings).spec
    if FRAME not in champion.parts:
        raise EvidenceMissing(f"version {champion.version} does not name the frame that it was trained on")
    frame, features = frame_of(platform, champion), list(spec.features)
    names = {spec.source.event_time: "event_time", spec.source.known_at: "known_at", spec.label.column: "label"}
    trained = frame.rename(columns=names)[["event_time", "known_at", "label", *features]]
    log = platform.predictions.joined(champion.model, Window(start=champion.as_of, end=as_of), as_of)
    log = log[log["label"].notna()].rename(columns={"label_at": "known_at"})
    if absent := [name for name in features if name not in log]:
        raise EvidenceMissing(f"the prediction log has no column {', '.join(absent)}")
    rows = pd.concat([trained, log[["event_time", "known_at", "label", *features]]], ignore_index=True)
    return rows[rows["label"].notna()].sort_values("event_time", kind="stable", ignore_index=True)


def _unknown(champion: Release, window: Window, why: str) -> Measurement:
    return Measurement(name=GAIN_MEASURED, value=None, why=why, window=window, subject=champion.digest)
