"""A canary that fails half of its requests, in the first stage of the shipped policy, with two replicas: how many
requests it meets before it is off on both. In simulated time (``tests/fixtures/exposure.py``), 1,000 seeds.

The faster requests come, the more reach the second replica before it has heard of the first one's trip: the target is
held at the rate of the open loop, and what comes of ten times as many is told beside it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from _fixtures import requests_met
from _report import ROOT, Row
from _scale import Found, Scale

from modelyard.config.settings import Settings
from modelyard.rollout.policy import load_rollout_policy

RATES = (500.0, 5000.0)
MOST_MET, SHARE = 20, 0.99


def half_failing(scale: Scale, folder: Path) -> Found:  # noqa: ARG001  it writes nothing
    """The share of the trials in which at most 20 requests were met."""
    policy = load_rollout_policy(Settings.from_env({"MODELYARD_ROOT": str(ROOT)}), "any")
    limits, weight = policy.guardrails.limits(2), policy.stages[0].basis_points
    rows, more = [], {}
    for rate in RATES:
        trial = partial(requests_met, limits, weight, failing=0.5, rate=rate)
        met = np.array([trial(seed=seed) for seed in range(scale.trials)])
        figure = f"{scale.trials} trials at {rate:g} requests/s: at most {MOST_MET} met"
        target = 1.0 if rate == RATES[0] else None
        rows.append(Row(figure, float((met <= MOST_MET).mean()), "of the trials", "wanted", SHARE, "higher", target))
        more[f"{rate:g} requests/s"] = {"median": float(np.median(met)), "p99": float(np.quantile(met, 0.99))}
    return Found(rows, {"met": more, "weight": weight, "level": limits.alpha})
