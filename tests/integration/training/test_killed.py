"""A training that is killed with SIGKILL goes on in another process and ends with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from fixtures.small_fit import PARAMS, TRAIN, VALIDATION, bits, network

from modelyard.training.checkpoints import Checkpoints
from modelyard.training.fit import fit

TESTS = Path(__file__).parents[2]

# The clock is asked after each step: there the process says how far it is, and waits to be killed.
CHILD = """
import sys
from pathlib import Path
from fixtures.small_fit import PARAMS, TRAIN, VALIDATION, network
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.fit import fit

asked = 0
def clock():
    global asked
    asked += 1
    if asked == 2 * 6 + 2:
        print("here", flush=True)
        sys.stdin.read()
    return 0.0

fit(network(), TRAIN, VALIDATION, PARAMS, "cpu", checkpoints=Checkpoints(Path(sys.argv[1]), 0, clock=clock))
"""


def test_after_sigkill_the_next_process_ends_with_the_same_bits(tmp_path: Path) -> None:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    kept = Checkpoints(tmp_path, 1e9)
    newest = kept.newest()
    assert newest is not None
    assert (newest.facts["standing"]["epoch"], newest.facts["standing"]["batch"]) == (2, 2)
    again = fit(network(), TRAIN, VALIDATION, PARAMS, "cpu", checkpoints=kept)
    straight = fit(network(), TRAIN, VALIDATION, PARAMS, "cpu")
    assert bits(again) == bits(straight)
    assert again.history == straight.history
