"""How long it takes to measure everything that the gates ask of the flight model, and to decide from the evidence.

Two releases are trained offline, a fortnight apart; the second is measured beside the first as its champion: on the
same rows, its files, the installed packages, and behind a real gateway of its own. What the records of the ledger say
(four measurements) needs the platform and is left out; nothing is sent to a service of advisories.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pandas as pd
from _report import RESULTS, ROOT, Facts, Row, write_part

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.window import parse_moment
from modelyard.evaluation.evidence import Evidence
from modelyard.flows import offline
from modelyard.flows.measuring import evaluation_rows, measure_bundles
from modelyard.flows.surroundings import measure_code, measure_running, measure_supply
from modelyard.gates.assess import assess
from modelyard.gates.policy import GatePolicy
from modelyard.release.bundle import Bundle, read_bundle, sign_bundle
from modelyard.signing.keys import Ed25519Signer

MOMENTS = ("2013-04-09T00:00:00+00:00", "2013-04-23T00:00:00+00:00")
EVALUATING_S, DECIDING_MS = 60.0, 50.0
"""The limits of the figures."""


def trained(project: Project, home: Path, moment: str, key: Ed25519Signer) -> Bundle:
    """A release of this moment, signed, in a folder of its own."""
    folder = home / moment[:10]
    offline.snapshot(project, folder / "snapshot", parse_moment(moment))
    offline.features(project, folder / "snapshot", folder / "frame")
    offline.train(project, folder / "snapshot", folder / "frame", folder / "bundle", folder / "train.json")
    made = read_bundle((folder / "bundle").as_uri())
    sign_bundle((folder / "bundle").as_uri(), made.release, key)
    return made


def evaluated(project: Project, settings: Settings, ours: Bundle, theirs: Bundle) -> tuple[Evidence, dict[str, float]]:
    """The evidence, and the seconds of each of its parts."""
    folder, spent = settings.home / MOMENTS[1][:10], {}
    frame = pd.read_parquet(folder / "frame" / "frame.parquet")
    rows, _ = evaluation_rows(project, frame, ours.release)
    places = SimpleNamespace(bundle=lambda _: (folder / "bundle").as_uri())
    platform: Any = SimpleNamespace(settings=settings, ledger=SimpleNamespace(releases=places))
    around = []
    for name, measure in {
        "code and packages": lambda: [*measure_code(project, ours.release), *measure_supply(platform, ours.release)],
        "a gateway of its own": lambda: [*measure_running(platform, rows.iloc[-200:], ours)],
    }.items():
        began = time.perf_counter()
        around += measure()
        spent[name] = time.perf_counter() - began
    began = time.perf_counter()
    evidence = measure_bundles(project, frame, ours, theirs, ours.release.as_of, around)
    spent["rows and bundles"] = time.perf_counter() - began
    return evidence, spent


def deciding(settings: Settings, evidence: Evidence, times: int) -> list[float]:
    """Milliseconds of each decision from the same evidence; that they are equal is asserted."""
    policy, spent, digests = load_policy(GatePolicy, "gates", settings, evidence.model), [], set()
    for _ in range(times):
        began = time.perf_counter()
        decision = assess(
            policy, evidence.measurements, model=evidence.model, release=evidence.release, champion=evidence.champion,
            as_of=evidence.as_of, evidence=evidence.digest,
        )  # fmt: skip
        digests.add(decision.digest)
        spent.append((time.perf_counter() - began) * 1000)
    assert len(digests) == 1, "the same evidence gave two decisions"
    return spent


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=200)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="modelyard-gates-") as scratch:
        settings = Settings.from_env({"MODELYARD_ROOT": str(ROOT), "MODELYARD_HOME": scratch})
        key, project = Ed25519Signer.make(), load_project("flight_delay", settings)
        settings.trusted_keys_file.write_text(key.trusted().pem())
        theirs, ours = (trained(project, settings.home, moment, key) for moment in MOMENTS)
        facts = Facts()
        evidence, parts = evaluated(project, settings, ours, theirs)
        spent = deciding(settings, evidence, given.decisions)
    limit = {"peer": "the limit", "better": "lower", "target": 1.0}
    rows = [Row("evaluating all gates", sum(parts.values()), "s", peer_value=EVALUATING_S, **limit)]
    rows += [Row(f"of that: {name}", s, "s", "the limit", EVALUATING_S, "lower") for name, s in parts.items()]
    rows.append(Row("deciding, median", statistics.median(spent), "ms", peer_value=DECIDING_MS, **limit))
    # The longest is the scheduler's as much as ours: shown, and held against nothing.
    rows.append(Row("deciding, longest", max(spent), "ms", "the limit", DECIDING_MS, "lower"))
    write_part(RESULTS / "gates.json", "gates", rows, facts, measurements=len(evidence.measurements))


if __name__ == "__main__":
    main()
