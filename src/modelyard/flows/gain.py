"""What a retraining would have gained, measured: two fits of a cheap model, compared on the labels that came since.

For each whole step since the champion's training, one probe is fitted on what the champion was trained on and one on
what it would be trained on at the step's start; the gain is the difference of their losses on the step's rows. A step
is measured once, when its outcomes have settled, and kept with the checks: an estimate costs seconds, each check none.
Where the rule listens to the champion's own calibration gaps, they are measured by the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from modelyard.config.project import Project, load_project
from modelyard.core.errors import EvidenceMissing, ModelyardError
from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.gain import GAIN_MEASURED, GAP_MEASURED
from modelyard.drift.policy import GainRule
from modelyard.flows.probe import Forecast, fit_probe
from modelyard.flows.snapshot import window_days
from modelyard.ports.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

FRAME = "training_frame"

Measure = Callable[[list[Window]], list[Measurement]]


def steps(trained_until: datetime, as_of: datetime, rule: GainRule, settle_hours: int) -> tuple[Window, ...]:
    """The steps since the training that have settled by ``as_of``, oldest first."""
    length, settled = timedelta(hours=rule.step_hours), as_of - timedelta(hours=settle_hours)
    found, start = [], trained_until
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
    """One ``retraining_gain`` for each settled step but the first after the training, which has no newer fit.

    Before them, with a ``gap_above``, one ``step_gap`` for each settled step. Each is oldest first; what ``earlier``
    checks measured is kept. A step that cannot be measured has no value and says why; it is not tried again.
    """
    due, before = steps(champion.as_of, as_of, rule, settle_hours), tuple(earlier)
    gaps: Measure = partial(_gaps, platform, champion, as_of)
    gains: Measure = partial(_gains, platform, champion, as_of)
    told = () if rule.gap_above is None else _once(GAP_MEASURED, champion, due, before, gaps)
    return (*told, *_once(GAIN_MEASURED, champion, due[1:], before, gains))


def _once(
    name: str, champion: Release, due: Sequence[Window], earlier: Sequence[Measurement], measure: Measure
) -> tuple[Measurement, ...]:
    """One measurement for each step: those that are known, and the others measured now."""
    known = {m.window: m for m in earlier if m.subject == champion.digest and m.name == name and m.window}
    if missing := [window for window in due if window not in known]:
        known |= dict(zip(missing, measure(missing), strict=True))
    return tuple(known[window] for window in due)


def _gaps(platform: Platform, champion: Release, as_of: datetime, due: list[Window]) -> list[Measurement]:
    """The champion's mean answer minus the observed rate, by step: of its own answers whose outcome is known."""
    log = platform.predictions.joined(champion.model, Window(start=due[0].start, end=due[-1].end), as_of)
    own = log[(log["version"] == champion.version) & log["label"].notna()]
    return [_gap(champion, own, window) for window in due]


def _gap(champion: Release, own: pd.DataFrame, window: Window) -> Measurement:
    rows = own[(own["event_time"] >= window.start) & (own["event_time"] < window.end)]
    if rows.empty:
        return _unknown(GAP_MEASURED, champion, window, "no answer of this version in these days has an outcome")
    value = float((rows["score"] - rows["label"]).mean())
    return Measurement(name=GAP_MEASURED, value=value, n=len(rows), window=window, subject=champion.digest)


def _gains(platform: Platform, champion: Release, as_of: datetime, due: list[Window]) -> list[Measurement]:
    try:
        rows = _rows(platform, champion, as_of)
        project = load_project(champion.model, platform.settings)
        old = _fit(project, rows, champion.as_of)
    except (ModelyardError, OSError) as error:
        return [_unknown(GAIN_MEASURED, champion, window, str(error)) for window in due]
    return [_compare(project, champion, rows, old, window) for window in due]


def _compare(project: Project, champion: Release, rows: pd.DataFrame, old: Forecast, window: Window) -> Measurement:
    ahead = rows[(rows["event_time"] >= window.start) & (rows["event_time"] < window.end)]
    if ahead.empty:
        return _unknown(GAIN_MEASURED, champion, window, "no request of these days has an outcome")
    try:
        new = _fit(project, rows, window.start)
    except EvidenceMissing as error:
        return _unknown(GAIN_MEASURED, champion, window, str(error))
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


def _unknown(name: str, champion: Release, window: Window, why: str) -> Measurement:
    return Measurement(name=name, value=None, why=why, window=window, subject=champion.digest)
