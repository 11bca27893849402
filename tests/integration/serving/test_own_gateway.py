"""A gateway of the candidate's own: real processes, which answer, fail and refuse as the release deserves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from fixtures.bundles import MODEL, graph, write_bundle_of
from fixtures.keys import KEY, STRANGER, write_trusted

from modelyard.core.verdict import Measurement
from modelyard.evaluation.gateway import ANSWERS, MEMORY, SPEED, measure_gateway
from modelyard.ports.fleet import Arm

ROWS = [{"flight": f"UA{i}", "distance": 100.0 * i, "wind": None, "carrier": "UA"} for i in range(60)]


def logistic(rows: list[dict[str, object]]) -> np.ndarray:
    """What the graph of the fixtures says: a missing wind counts as none, UA is the first of its codes."""
    return np.array([1 / (1 + np.exp(-(0.001 * float(row["distance"]) + 0.1))) for row in rows])  # type: ignore[arg-type]


def measured(arm: Arm, home: Path, rows: list[dict[str, object]], expected: np.ndarray) -> dict[str, Measurement]:
    env = {"MODELYARD_TRUSTED_KEYS_FILE": str(home / "trusted-keys.pem")}
    return {m.name: m for m in measure_gateway(arm, MODEL, rows, expected, env)}


def test_a_sound_release_answers_what_was_evaluated(tmp_path: Path) -> None:
    write_trusted(tmp_path, KEY)
    release, arm = write_bundle_of(tmp_path / "bundle")
    # Rows that the signature does not accept are counted apart: a bound is passed, a number is missing.
    odd = [*ROWS[:38], ROWS[0] | {"distance": 10_001.0}, ROWS[0] | {"distance": None}]
    found = measured(arm, tmp_path, odd, np.append(logistic(ROWS[:38]), [0.5, 0.5]))
    assert set(found) == {*ANSWERS, *SPEED, MEMORY}
    assert {m.subject for m in found.values()} == {release.digest}
    assert (found["gateway_failures"].value, found["gateway_failures"].n) == (0, 200)
    assert found["gateway_refused_share"].value == pytest.approx(2 / 40)
    assert found["gateway_difference"].value < 1e-6
    assert found["gateway_difference"].n == 190  # what was answered, and so compared
    assert found["gateway_latency_p50_ms"].value <= found["gateway_latency_p99_ms"].value
    assert found["memory_bytes"].value > 0


def test_failures_and_other_answers_are_found(tmp_path: Path) -> None:
    write_trusted(tmp_path, KEY)
    _, arm = write_bundle_of(tmp_path / "bundle", onnx=graph(fault="raise"))
    found = measured(arm, tmp_path, ROWS, logistic(ROWS) + 0.01)
    beyond = sum(0.0 + row["distance"] > 5000 for row in ROWS)  # type: ignore[operator]
    assert found["gateway_failures"].value >= 3 * beyond
    assert found["gateway_refused_share"].value == 0
    assert found["gateway_difference"].value == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize("why", ["nobody trusted has signed it", "another release is named"])
def test_a_release_that_no_gateway_takes_has_no_evidence(tmp_path: Path, why: str) -> None:
    write_trusted(tmp_path, STRANGER if why.startswith("nobody") else KEY)
    _, arm = write_bundle_of(tmp_path / "bundle")
    if why.startswith("another"):
        arm = arm.model_copy(update={"release": "sha256:" + "e" * 64})
    found = measured(arm, tmp_path, ROWS, logistic(ROWS))
    assert all(m.value is None and "refuses the release" in m.why for m in found.values())


def test_a_gateway_ends_with_the_task_that_was_killed(tmp_path: Path) -> None:
    write_trusted(tmp_path, KEY)
    program = """
import sys, time
from modelyard.evaluation.gateway import replica
with replica({"MODELYARD_TRUSTED_KEYS_FILE": sys.argv[1]}) as (http, process):
    print(process.pid, flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "trusted-keys.pem")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as task:
        assert task.stdout is not None
        gateway = psutil.Process(int(task.stdout.readline()))
        task.kill()
    gateway.wait(60)


def test_a_gateway_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    _, arm = write_bundle_of(tmp_path / "bundle")
    found = measured(arm, tmp_path, ROWS, logistic(ROWS))
    assert all(m.value is None and "did not come up" in m.why for m in found.values())
    assert "TRUSTED_KEYS_FILE" in found["gateway_failures"].why
    assert {m.why for m in measure_gateway(arm, MODEL, [], np.empty(0), {})} == {"there are no rows to ask for"}
