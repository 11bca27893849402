"""Shares of a batch, and a process that does not outlive the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.training.ranks import Ranks

STARTS_ANOTHER = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import os; from modelyard.core.orphans import end_with; parent = os.getppid();"
                  "print(os.getpid(), flush=True); end_with(parent)"])
sys.stdin.read()
"""


@pytest.mark.parametrize(("rows", "size"), [(7, 2), (1, 3), (8, 4)])
def test_the_shares_make_up_the_batch(rows: int, size: int) -> None:
    import torch

    batch = torch.arange(rows)
    shares = [Ranks(rank, size).share(batch) for rank in range(size)]
    assert torch.equal(torch.cat(shares), batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert Ranks().share(batch) is batch


def test_a_process_ends_when_the_one_that_started_it_is_killed() -> None:
    path = str(Path(__file__).parents[3] / "src")
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS_ANOTHER],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # The child has the other end of this pipe: it is read to its end only once the child is gone.
    assert parent.stdout.read() == b""
    parent.stdout.close()
    assert parent.stdin is not None
    parent.stdin.close()
