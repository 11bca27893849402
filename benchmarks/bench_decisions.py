"""How often the rollout's decisions are wrong, and how soon they are right; the peers are limits, and rival rules.

What is simulated, and how, is said in src/modelyard/rollout/simulate.py; this is `modelyard rollout simulate` with its
defaults, written down. Wrong decisions stand beside the limits that the project sets itself and beside the rivals'.
"""

from __future__ import annotations

import sys
from functools import partial

from _report import ROOT, Row, write

from modelyard.config.settings import Settings
from modelyard.rollout.policy import load_rollout_policy
from modelyard.rollout.simulate import MARGIN, OURS, Result, simulate
from modelyard.rollout.simulate_plot import plot

SEED, REPETITIONS, LOOKS = 1, 1000, 120
PROMOTED_AT_MARGIN, ROLLED_BACK_IDENTICAL = 0.025, 0.01
PICTURE = ROOT / "docs" / "rollout-decisions.svg"


def rows(results: list[Result]) -> list[Row]:
    """Wrong decisions (95% upper ends: 0 of 2,000 is no proof of 0) and rows to decide; all else is in ``results``."""
    found = []
    for r in results:
        where, ours = (
            f"{r.metric} {r.split}: {r.case}",
            next(o for o in results if o.rule == OURS and _case(o) == _case(r)),
        )
        if r.case.startswith(MARGIN):
            peer = ("limit", PROMOTED_AT_MARGIN) if r is ours else (r.rule, r.promoted_high)
            found.append(Row(f"{where}: promoted at most", ours.promoted_high, "share", *peer, "lower"))
        elif r.case.startswith("identical"):
            peer = ("limit", ROLLED_BACK_IDENTICAL) if r is ours else (r.rule, r.rolled_back_high)
            found.append(Row(f"{where}: rolled back at most", ours.rolled_back_high, "share", *peer, "lower"))
        if r is not ours and ours.rows is not None and r.rows is not None:
            found.append(Row(f"{where}: rows to decide", ours.rows, "rows", r.rule, r.rows, "lower"))
    return found


def _case(result: Result) -> tuple[str, str, str]:
    return result.metric, result.split, result.case


def main() -> None:
    policy = load_rollout_policy(Settings.from_env(), "any_model")  # the default's numbers
    results = simulate(policy, seed=SEED, repetitions=REPETITIONS, looks=LOOKS, say=partial(print, file=sys.stderr))
    plot(results, PICTURE)
    given = {"seed": SEED, "repetitions": REPETITIONS, "looks": LOOKS, "policy": policy.digest}
    write("decisions", rows(results), **given, results=[result.to_dict() for result in results])


if __name__ == "__main__":
    main()
