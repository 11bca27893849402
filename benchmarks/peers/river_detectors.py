"""River's detectors on streams that lie in a file: ``python river_detectors.py JOB RESULT``, in River's environment.

``JOB`` (npz) holds columns ``<set>/<column>``, arrays ``[streams, days, rows]``, and ``settings``, JSON: ``detectors``
(names in ``DETECTORS``), ``reference`` and ``onset`` (days), ``target`` (alarms per 100 days), ``carried`` (levels
found on other streams, by detector). Each detector is fed the reference first; alarms count from the onset on. Its
level is calibrated on the set ``calibration``; ``RESULT`` (npz) has, for each detector and other set, alarms as
``_detection`` describes them, at this level, at the one it comes with, and at the carried one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))
from _detection import Floats, alarms_per_100, at_row, calibrate
from _tabled_ks import TabledKs
from river import drift
from river.drift import kswin

SEED = 1


@dataclass(frozen=True, slots=True)
class Detector:
    """``make(level)``: a detector; from ``strict`` to ``lax`` it warns more often. ``default``: River's own level."""

    signal: str
    make: Callable[[float], Any]
    strict: float
    lax: float
    default: float
    log: bool = True


DETECTORS = {
    "ADWIN": Detector("value", lambda level: drift.ADWIN(delta=level), 1e-60, 1.0, 0.002),
    "PageHinkley": Detector("value", lambda level: drift.PageHinkley(threshold=level), 1e5, 1.0, 50.0),
    "KSWIN": Detector("value", lambda level: drift.KSWIN(alpha=level, seed=SEED), 1e-18, 1.0, 0.005),
    "ADWIN, residuals": Detector("residual", lambda level: drift.ADWIN(delta=level), 1e-60, 1.0, 0.002),
    "PageHinkley, residuals": Detector("residual", lambda level: drift.PageHinkley(threshold=level), 1e5, 1.0, 50.0),
    "ADWIN, errors": Detector("error", lambda level: drift.ADWIN(delta=level), 1e-60, 1.0, 0.002),
    "DDM, errors": Detector("error", lambda level: drift.binary.DDM(drift_threshold=level), 1e3, 0.1, 3.0),
    "EDDM, errors": Detector(
        "error", lambda level: drift.binary.EDDM(alpha=1.0, beta=level), 0.01, 1.0, 0.9, log=False
    ),
}


def alarms(detector: Detector, values: Floats, level: float, settings: dict[str, Any]) -> Floats:
    """Alarms ``[streams, days from the onset on]``."""
    onset, rows = settings["onset"], values.shape[2]
    found = np.full((len(values), values.shape[1] - onset), np.nan)
    for stream, days in enumerate(values):
        watching = detector.make(level)
        for row, value in enumerate(days.ravel().tolist()):
            watching.update(value)
            day = row // rows - onset
            if watching.drift_detected and day >= 0 and np.isnan(found[stream, day]):
                found[stream, day] = (row % rows + 1) / rows
    return found


def kswin_scores(detector: Detector, values: Floats, settings: dict[str, Any]) -> Floats:
    """-log10 of KSWIN's p value at each row from the onset on: run once, never warning; a level is a line through it.

    KSWIN forgets what came before an alarm, which is left out: at most two days of it.
    """
    from_row = (settings["onset"] * values.shape[2]) - 2 * detector.make(0.5).window_size
    onset = settings["onset"] * values.shape[2]
    found = np.zeros((len(values), values.shape[1] * values.shape[2] - onset))
    for stream, days in enumerate(values):
        watching = detector.make(0.0)
        for row, value in enumerate(days.ravel()[from_row:].tolist(), start=from_row):
            watching.update(value)
            if row >= onset:
                found[stream, row - onset] = -np.log10(max(watching.p_value, 1e-300))
    return found.reshape(len(values), -1, values.shape[2])


def signal(sets: dict[str, dict[str, Floats]], name: str, kind: str, settings: dict[str, Any]) -> Floats:
    """What the detector is fed: standardised values, prediction minus label, or whether the answer was wrong."""
    columns, reference = sets[name], settings["reference"]
    if kind == "value":
        value = columns["value"]
        known = value[:, :reference].reshape(len(value), -1)
        return (value - known.mean(axis=1)[:, None, None]) / known.std(axis=1)[:, None, None]
    if kind == "residual":
        return columns["score"] - columns["label"]
    # A model of rare events is never wrong at a threshold of 0.5 but by not warning: its base rate is the threshold.
    base = columns["label"][:, :reference].reshape(len(columns["label"]), -1).mean(axis=1)[:, None, None]
    return ((columns["score"] >= base) != (columns["label"] == 1)).astype(np.float64)


def one(name: str, sets: dict[str, dict[str, Floats]], settings: dict[str, Any]) -> tuple[float, dict[str, Floats]]:
    """The level of a detector, and its alarms by set and manner."""
    detector = DETECTORS[name]
    if name.startswith("KSWIN"):
        scores = {s: kswin_scores(detector, signal(sets, s, detector.signal, settings), settings) for s in sets}

        def at(which: str, level: float) -> Floats:
            return at_row(scores[which], -float(np.log10(level)))
    else:
        fed = {s: signal(sets, s, detector.signal, settings) for s in sets}

        def at(which: str, level: float) -> Floats:
            return alarms(detector, fed[which], level, settings)

    level = calibrate(
        lambda level: alarms_per_100(at("calibration", level)),
        detector.strict,
        detector.lax,
        settings["target"],
        log=detector.log,
    )
    found = {f"{s}/calibrated": at(s, level) for s in sets if s != "calibration"}
    found["stable/default"] = at("stable", detector.default)
    if name in settings["carried"]:
        found["stable/carried"] = at("stable", settings["carried"][name])
    return level, found


def main() -> None:
    """Run the job."""
    with np.load(sys.argv[1]) as job:
        settings = json.loads(str(job["settings"]))
        sets: dict[str, dict[str, Floats]] = {}
        for key in job.files:
            if "/" in key:
                name, column = key.split("/")
                sets.setdefault(name, {})[column] = job[key]
    kswin.stats = TabledKs()
    levels, results = {}, {}
    for name in settings["detectors"]:
        level, found = one(name, sets, settings)
        levels[name] = [level, DETECTORS[name].default]
        results |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez(sys.argv[2], levels=json.dumps(levels), **results)


if __name__ == "__main__":
    main()
