"""Drift that was planted, and none: how soon it is seen beside River's and Evidently's detectors, all equally quiet.

Each detector's level is found on stable streams, so that it warns as often as all the others; other stable streams
then say how often it does, and streams with a drift how soon it sees that. What levels the detectors come with would
do, and levels found on independent rows, is told beside. Everything is settled by ``--seed``; minutes of two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _detection import Floats, alarms_per_100, by_chance, calibrate, episodes, half_width, seen
from _flight_days import families
from _known_answers import PAGE, put_tables
from _peer_env import HERE, environment
from _report import RESULTS, Facts, Row, parts, write_part
from _streams import ANSWERS, INPUTS, Columns, Family, Plan
from _window_detectors import GROUPS, Detector, Group

TARGET = 1.0
"""Alarms per 100 days that every detector is calibrated to."""

RIVER = {
    "inputs": ("ADWIN", "PageHinkley", "KSWIN"),
    "answers": ("ADWIN, errors", "DDM, errors", "EDDM, errors", "ADWIN, residuals", "PageHinkley, residuals"),
}
Sets = dict[str, Columns]
Levels = dict[str, float]


def draw(family: Family, plan: Plan, seed: int) -> Sets:
    """The family's streams: ``calibration``, ``stable``, and one set for each drift."""
    sets = {"calibration": family.many("stable", 0, plan, seed), "stable": family.many("stable", 1, plan, seed)}
    return sets | {drift: family.many(drift, 2, plan, seed) for drift in family.drifts}


def told(
    name: str, who: str, default: float, level: float, alarms: dict[str, Floats], drifts: Sequence[str]
) -> dict[str, Any]:
    """What a detector's alarms come to; keys as ``peers/river_detectors.py`` names them."""
    stable = alarms["stable/calibrated"]
    others = {f"{how}_false_alarms": alarms.get(f"stable/{how}") for how in ("default", "carried")}
    return {
        "detector": name,
        "who": who,
        "level": level,
        "default": default,
        "false_alarms": alarms_per_100(stable),
        "false_alarms_half_width": 100 * half_width(episodes(stable).astype(float)) / stable.shape[1],
        **{key: None if found is None else alarms_per_100(found) for key, found in others.items()},
        "drifts": {drift: seen(alarms[f"{drift}/calibrated"]).to_dict() for drift in drifts},
    }


def windowed(group: Group, family: Family, sets: Sets, plan: Plan, carried: Levels) -> list[dict[str, Any]]:
    """Our detectors, or Evidently's, calibrated and judged."""
    scored, found = {name: group.scored(streams, plan) for name, streams in sets.items()}, []
    for detector in group.detectors:
        scores = {name: by_detector[detector.name] for name, by_detector in scored.items()}
        level = _level(detector, scores["calibration"])
        alarms = {f"{name}/calibrated": detector.alarms(values, level) for name, values in scores.items()}
        for how, at in (("default", detector.default), ("carried", carried.get(f"{group.who} {detector.name}"))):
            if at is not None:
                alarms[f"stable/{how}"] = detector.alarms(scores["stable"], at)
        found.append(told(detector.name, group.who, detector.default, level, alarms, list(family.drifts)))
    return found


def _level(detector: Detector, scores: Floats) -> float:
    ends = (1e4, 1e-4) if detector.resets else (float(scores.max()), float(scores.min()) - 1)

    def rate(level: float) -> float:
        return alarms_per_100(detector.alarms(scores, level))

    return calibrate(rate, *ends, TARGET, steps=40, log=detector.resets)


def start_river(family: Family, sets: Sets, plan: Plan, carried: Levels, folder: Path) -> subprocess.Popen[str]:
    """River's detectors, in a process and an environment of their own."""
    settings = {"detectors": RIVER[family.kind], "reference": plan.reference, "onset": plan.onset, "target": TARGET}
    settings["carried"] = {n: carried[f"River {n}"] for n in RIVER[family.kind] if f"River {n}" in carried}
    columns = {f"{name}/{column}": v for name, streams in sets.items() for column, v in streams.items()}
    np.savez(folder / "job.npz", settings=json.dumps(settings), **columns)  # type: ignore[arg-type]
    python = environment(HERE / "river.lock") / "python"
    command = [str(python), str(HERE / "river_detectors.py"), str(folder / "job.npz"), str(folder / "result.npz")]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def river(started: subprocess.Popen[str], family: Family, folder: Path) -> list[dict[str, Any]]:
    """What River's detectors come to."""
    _, error = started.communicate()
    if started.returncode:
        raise SystemExit(f"River's detectors failed:\n{error[-2000:]}")
    found = []
    with np.load(folder / "result.npz") as result:
        about = json.loads(str(result["levels"]))
        for name, (level, default) in about.items():
            alarms = {key.removeprefix(f"{name}/"): result[key] for key in result.files if key.startswith(f"{name}/")}
            found.append(told(name, "River", default, level, alarms, list(family.drifts)))
    return found


def judged(family: Family, plan: Plan, seed: int, carried: Levels, kept: dict[str, Any] | None) -> dict[str, Any]:
    """All detectors on one family of streams; with ``kept``, only ours are run and the others are taken from there."""
    sets = draw(family, plan, seed)
    ours, theirs = GROUPS[family.kind]
    if kept is not None:
        others = [d for d in kept["detectors"] if d["who"] != ours.who]
        found = [*windowed(ours, family, sets, plan, carried), *others]
    else:
        with tempfile.TemporaryDirectory(prefix="bench-known-answers-") as path:
            started = start_river(family, sets, plan, carried, Path(path))
            try:
                found = [d for group in (ours, theirs) for d in windowed(group, family, sets, plan, carried)]
                found += river(started, family, Path(path))
            finally:
                started.kill()
    print(f"{family.kind}, {family.name}: done", file=sys.stderr, flush=True)
    about = {"family": family.name, "kind": family.kind, "planted": dict(family.drifts)}
    return about | {"detectors": found, "chance": by_chance(TARGET, plan.horizon).to_dict()}


def kept_tables(path: Path, kind: str, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the result file has of the same streams, by family.

    Raises:
        SystemExit: it has none, or of other streams.
    """
    part = parts(path).get(kind, {})
    if {key: part.get(key) for key in about} != about:
        raise SystemExit(f"{path} has no {kind} of the same streams ({about}): run without --ours")
    return {table["family"]: table for table in part["tables"]}


def rows(tables: Sequence[dict[str, Any]]) -> list[Row]:
    """Our detector in force beside each other one: its delay, streams by streams."""
    found = []
    for table in tables:
        first, *others = table["detectors"]
        for drift in table["planted"]:
            what = f"{table['kind']}, {table['family']}, {drift}: delay of {first['detector']}"
            ours = first["drifts"][drift]["delay"]
            found += [
                Row(what, ours, "days", f"{o['who']}: {o['detector']}", o["drifts"][drift]["delay"], "lower")
                for o in others
            ]
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--streams", type=int, default=Plan.streams, help="of each kind and purpose")
    parser.add_argument("--kinds", default="inputs,answers", help="which kinds, separated by commas")
    parser.add_argument("--ours", action="store_true", help="run our detectors only; keep the others' results")
    parser.add_argument("--out", type=Path, default=RESULTS / "known_answers.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="whose tables are replaced")
    given = parser.parse_args()
    plan, real = Plan(streams=given.streams), families()
    for kind in given.kinds.split(","):
        facts, carried, tables = Facts(), Levels(), []
        about = {"seed": given.seed, "plan": asdict(plan), "target": TARGET}
        kept = kept_tables(given.out, kind, about) if given.ours else {}
        for family in (f for f in (*INPUTS, *ANSWERS, *real) if f.kind == kind):
            tables.append(judged(family, plan, given.seed, carried, kept.get(family.name)))
            if not carried:
                carried = {f"{d['who']} {d['detector']}": d["level"] for d in tables[0]["detectors"]}
        write_part(given.out, kind, rows(tables), facts, **about, tables=tables)
    put_tables(given.out, given.page)


if __name__ == "__main__":
    main()
