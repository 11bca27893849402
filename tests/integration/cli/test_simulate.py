"""``modelyard rollout simulate`` as people call it: JSON that is the same again, and a small picture."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from modelyard.cli import app


def test_it_prints_json_and_draws(tmp_path: Path) -> None:
    runs = []
    for name in ("a.svg", "b.svg"):
        asked = ["rollout", "simulate", "--seed", "4", "--repetitions", "2", "--looks", "25", "--json", "--plot"]
        done = CliRunner().invoke(app, [*asked, str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        runs.append((json.loads(done.stdout), (tmp_path / name).read_bytes()))
    (first, picture), (second, again) = runs
    assert first == second
    assert picture == again
    assert (first["seed"], first["repetitions"], first["looks"]) == (4, 2, 25)
    assert {r["metric"] for r in first["results"]} == {"quality", "errors", "latency"}
    assert 5_000 < len(picture) < 100_000
