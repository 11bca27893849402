"""What the recalibration by slices was chosen on: the governor's replay on weeks 8 to 26, by the rule's numbers.

No fit, outcome or loss of a later week is read. ``recalibrated: none | shift`` stand beside.
"""

from __future__ import annotations

import argparse

import numpy as np

from modelyard.cli.session import settings
from modelyard.config.policies import load_policy
from modelyard.config.project import load_project
from modelyard.drift.policy import DriftPolicy
from modelyard.drift.recalibrate import RecalibrationRule, SliceRule
from modelyard.flows.replay.fits import PROBE, Fits
from modelyard.flows.replay.guard import Patches
from modelyard.flows.replay.history import read_past
from modelyard.flows.replay.policies import Calendar, Governor
from modelyard.flows.replay.run import TUNED_UNTIL, governed
from modelyard.flows.replay.simulate import walk
from modelyard.flows.replay.stream import Stream

MODEL = "flight_delay"
STARTS = range(8, 21, 3)
PRIORS, HALF_LIVES = (100, 300, 1000, 3000), (14, 28, 56)


def main() -> None:
    """Print one line per cell: excess over weekly x 1000, by family, for the governor and for no refit at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = parser.parse_args().seeds
    found = settings()
    past = read_past(load_project(MODEL, found))
    policy = governed(load_policy(DriftPolicy, "drift", found, MODEL))
    fits = Fits(past, found.home / "replay" / MODEL, print)
    families = [("logistic", 0), *(("network", seed) for seed in range(seeds))]
    cells: list[tuple[str, Patches, SliceRule]] = [
        ("none", "none", SliceRule()),
        ("shift", "shift", SliceRule()),
        *(
            (f"slices, prior {prior}, half-life {days}", "slices", SliceRule(prior_rows=prior, half_life_days=days))
            for days in HALF_LIVES
            for prior in PRIORS
        ),
    ]
    print(f"{'recalibration':34}  governor: logistic  network    static: logistic  network   refits")
    for name, patches, rule in cells:
        values = {family: _excess(fits, family, seed_of, policy, patches, rule) for family, seed_of in _seeds(families)}
        (g1, s1, n1), (g2, s2, n2) = values["logistic"], values["network"]
        print(f"{name:34} {g1:+18.1f} {g2:+8.1f} {s1:+19.1f} {s2:+8.1f} {(n1 + n2) / 2:8.1f}", flush=True)


def _seeds(families: list[tuple[str, int]]) -> list[tuple[str, list[int]]]:
    return [(name, [seed for family, seed in families if family == name]) for name in dict(families)]


def _excess(
    fits: Fits, family: str, seeds: list[int], policy: DriftPolicy, patches: Patches, rule: SliceRule
) -> tuple[float, float, float]:
    """Of the governor and of a model that is never retrained, in thousandths; and the governor's refits."""
    probe, found = Stream(fits, PROBE, 0), []
    for seed in seeds:
        stream = Stream(fits, family, seed, RecalibrationRule(), rule)
        for start in STARTS:
            base = walk(stream, probe, Calendar(1), start=start, until=TUNED_UNTIL, patches="none")
            ours = walk(stream, probe, Governor(policy), start=start, until=TUNED_UNTIL, patches=patches)
            still = walk(stream, probe, Calendar(None), start=start, until=TUNED_UNTIL, patches=patches)
            excess = [1000 * (w.loss - base.loss).sum() / w.rows.sum() for w in (ours, still)]
            found.append((*excess, len(ours.refits)))
    mean = np.mean(found, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])


if __name__ == "__main__":
    main()
