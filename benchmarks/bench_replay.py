"""A year of the flight model under every retraining policy: what `modelyard drift replay` prints, kept as a result.

Half an hour of one core for the fits, which are kept under the platform's home; a second run takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _report import ROOT, Row, write

from modelyard.cli.session import settings
from modelyard.flows.replay.plot import plot
from modelyard.flows.replay.run import Plan, replay


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "drift-replay.svg")
    given = parser.parse_args()
    result = replay(settings(), "flight_delay", Plan(seeds=given.seeds), lambda line: print(line, file=sys.stderr))
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


if __name__ == "__main__":
    main()
