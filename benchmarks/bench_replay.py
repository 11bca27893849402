"""A year of the flight model under every retraining policy: what `modelyard drift replay` prints, kept as a result.

Half an hour of one core for the fits, which are kept under the platform's home; a second run takes some minutes a seed.
With ``--only``, the rows of these policies are taken again, and the other rows of the kept result stay, provided that
weekly retraining comes to the very same there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from _report import RESULTS, ROOT, Row, write

from modelyard.cli.session import settings
from modelyard.flows.replay.plot import plot
from modelyard.flows.replay.run import Plan, replay


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "drift-replay.svg")
    parser.add_argument("--only", nargs="+", default=[], metavar="POLICY")
    given = parser.parse_args()
    plan = Plan(seeds=given.seeds, policies=tuple(given.only))
    result = replay(settings(), "flight_delay", plan, lambda line: print(line, file=sys.stderr))
    if given.only:
        result = joined(json.loads((RESULTS / "replay.json").read_text())["replay"], result)
    plot(result, given.plot)
    rows = []
    for weeks, means in (("weeks 14-51", result["means"]), ("weeks 27-51", result["untouched"]["means"])):
        for family in dict.fromkeys(m["family"] for m in means):
            of = {m["policy"]: m for m in means if m["family"] == family}
            ours = of.pop("governor")["logloss"]
            rows += [
                Row(f"logloss, {family}, {weeks}", ours, "logloss", name, m["logloss"], "lower")
                for name, m in of.items()
            ]
    write("replay", rows, replay=result, seeds=given.seeds)
    print(f"drawn in {given.plot}")


NONE = {"turned_down": 0.0, "backs": 0.0}
"""What a row has that was kept before refits were guarded."""


def joined(kept: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    """What was taken, and of what was kept the rows of other policies.

    Raises:
        SystemExit: the two are not of the same rows and fits: weekly retraining differs.
    """

    def both(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
        weekly = [[m["logloss"] for m in rows if m["policy"] == "weekly"] for rows in (old, new)]
        if weekly[0] != weekly[1]:
            raise SystemExit(f"the kept result is of other fits (weekly: {weekly[0]}, now {weekly[1]}): take all rows")
        stay = {*taken["policies"]} - {m["policy"] for m in new}
        rows = [NONE | m for m in old if m["policy"] in stay] + new
        return [m for family in dict.fromkeys(m["family"] for m in old) for m in rows if m["family"] == family]

    parts = {name: both(kept[name], taken[name]) for name in ("rows", "means")}
    later = {name: both(kept["untouched"][name], taken["untouched"][name]) for name in ("rows", "means")}
    return taken | parts | {"untouched": later}


if __name__ == "__main__":
    main()
