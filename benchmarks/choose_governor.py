"""What the governor's ear for gaps and the guard of its refits were chosen on: replays of weeks 8 to 26, by cell.

No fit, outcome or loss of a later week is read. All cells are recalibrated by slices.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from modelyard.cli.session import settings
from modelyard.config.policies import load_policy
from modelyard.config.project import load_project
from modelyard.drift.policy import DriftPolicy
from modelyard.flows.replay.fits import PROBE, Fits
from modelyard.flows.replay.guard import Guard
from modelyard.flows.replay.history import read_past
from modelyard.flows.replay.policies import Calendar, Governor
from modelyard.flows.replay.run import TUNED_UNTIL, governed, guarded
from modelyard.flows.replay.simulate import walk
from modelyard.flows.replay.stream import Stream
from modelyard.gates.policy import GatePolicy

MODEL = "flight_delay"
STARTS = range(8, 21)
GAPS = ((0.015, 0.06), (0.015, 0.09), (0.02, 0.06), (0.02, 0.08), (0.02, 0.1))
BACK_FROM = (0.0, 0.002, 0.003, 0.005, 0.01)

Cell = tuple[str, DriftPolicy, Guard | None]


def main() -> None:
    """Print one line per cell: excess over weekly x 1000, refits (most), turned down, ways back, for each family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = parser.parse_args().seeds
    found = settings()
    project = load_project(MODEL, found)
    past = read_past(project)
    fits = Fits(past, found.home / "replay" / MODEL, print)
    probe = Stream(fits, PROBE, 0)
    streams = {"logistic": [Stream(fits, "logistic", 0)], "network": [Stream(fits, "network", s) for s in range(seeds)]}
    guard = guarded(load_policy(GatePolicy, "gates", found, MODEL), project)
    for name, policy, of in cells(governed(load_policy(DriftPolicy, "drift", found, MODEL)), guard):
        shown = [f"{family}: {_line(mine, probe, policy, of)}" for family, mine in streams.items()]
        print(f"{name:36} {'   '.join(shown)}", flush=True)


def cells(policy: DriftPolicy, guard: Guard) -> list[Cell]:
    """The rule in the file, and its neighbours."""

    def listening(allowance: float, above: float | None) -> DriftPolicy:
        gain = policy.gain.model_copy(update={"gap_allowance": allowance, "gap_above": above})
        return policy.model_copy(update={"gain": gain})

    open_gate = replace(guard, worse_by=np.inf)
    return [
        ("gain alone", listening(0.02, None), None),
        *((f"gain, or gaps of {a:g} to {b:g}", listening(a, b), None) for a, b in GAPS),
        ("the rule in the file, and the gate", policy, replace(guard, back_from=np.inf)),
        *((f"the rule, and a way back from {b:g}", policy, replace(open_gate, back_from=b)) for b in BACK_FROM),
        ("the rule, the gate, the way back", policy, guard),
    ]


def _line(streams: list[Stream], probe: Stream, policy: DriftPolicy, guard: Guard | None) -> str:
    found = []
    for stream in streams:
        for start in STARTS:
            base = walk(stream, probe, Calendar(1), start=start, until=TUNED_UNTIL, patches="none")
            made = Governor(policy)
            ours = walk(stream, probe, made, start=start, until=TUNED_UNTIL, patches="slices", guard=guard)
            excess = 1000 * (ours.loss - base.loss).sum() / ours.rows.sum()
            found.append((excess, len(ours.refits), len(ours.turned_down), len(ours.backs)))
    excess, refits, turned_down, backs = np.mean(found, axis=0)
    most = max(refits for _, refits, _, _ in found)
    return f"{excess:+5.2f} {refits:.1f} ({most}) {turned_down:.1f} {backs:.1f}"


if __name__ == "__main__":
    main()
