"""The parts of the serving benchmark run, in the smallest size; no time is looked at: it would mean nothing here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    import bench_serving  # type: ignore[import-not-found]

    yield bench_serving
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def tiny(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = bench.Scale(
        rounds=1, seconds=0.2, open_seconds=0.2, changes=1, fault_seconds=0.5, rollbacks=2, trials=5, peers=False
    )
    monkeypatch.setattr(bench, "QUICK", scale)


RUN = ("throughput", "open_loop", "features", "changes", "faults", "rollbacks", "half_failing")
LEFT_OUT = {"large_model"}
"""Its figures are beside MLflow's server only; what it runs is what `throughput` runs, on another graph."""


@pytest.mark.parametrize("part", RUN)
def test_a_part_runs_and_is_written(part: str, bench: Any, tiny: None, tmp_path: Path) -> None:
    path = tmp_path / "serving.json"
    path.write_text(json.dumps({"parts": {"another": {"commit": "0"}}}))
    assert bench.main([part, "--quick", "--without-peers", "--out", str(path)]) == 0
    found = json.loads(path.read_text())["parts"]
    assert set(found) == {"another", part}
    assert found[part]["rows"]
    assert not [row["figure"] for row in found[part]["rows"] if row["figure"].endswith("failed") and row["ours"]]


def test_no_part_is_forgotten_here(bench: Any) -> None:
    assert {*RUN, *LEFT_OUT} == set(bench.PARTS)


def test_an_unknown_part_is_named(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["thruput"])
    assert "no part thruput; there are: throughput" in capsys.readouterr().err
