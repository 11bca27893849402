"""Policies on generated cycles and, where it lies beside the checkout, on the published history."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.config.project import Project

from .conftest import ROOT

PUBLISHED = ROOT.parent / "shared" / "data" / "abb_iofrol.parquet"


@pytest.fixture(scope="module")
def past(project: Project) -> list[Any]:
    rows = project.code("source:generated")(seed=1, cycle_count=40, tests=60)
    return list(project.code("cycles:cycles")(rows))


def spoiled(project: Project, one: Any) -> Any:
    """The same cycle with every outcome the other way round."""
    return project.code("cycles:Cycle")(
        one.number, one.day, one.tests, one.place, ~one.failed, one.duration_ms[::-1] * 7
    )


@pytest.mark.parametrize(
    "name", ["last verdict", "failure rate", "online MLP + last 4", "ranker", "ranker per time", "DQN agent"]
)
def test_a_score_depends_on_earlier_cycles_alone(project: Project, past: list[Any], name: str) -> None:
    make = project.code("policies:POLICIES")[name]
    one, other = make(0), make(0)
    for cycle in past[:6]:
        one.learn(cycle)
        other.learn(cycle)
    asked = past[6]
    before = one.score(asked.tests, asked.day)
    assert np.array_equal(before, other.score(asked.tests, asked.day)), "asking changes nothing"
    one.learn(past[6])
    other.learn(spoiled(project, past[6]))
    ahead = past[7]
    assert not np.allclose(one.score(ahead.tests, ahead.day), other.score(ahead.tests, ahead.day))


def test_features_are_counted_by_hand(project: Project) -> None:
    history, cycle = project.code("history:History")(), project.code("cycles:Cycle")
    failed = np.array([True, False, True, False])
    first = cycle(1, 0.0, np.array([10, 12, 30]), np.array([0, 1, 2, 2]), failed, np.array([5.0, 6.0, 7.0, 8.0]))
    history.learn(first)
    found = history.features(np.array([10, 11, 12, 30]), 30.0)
    of = dict(zip(project.code("history:FEATURES"), found.T, strict=True))
    odds = project.code("history:log_odds")
    assert of["rate"] == pytest.approx(odds(np.array([2 / 3, 1 / 2, 1 / 3, 1.5 / 3])))
    assert of["last_failed"].tolist() == [0.5, 0.0, -0.5, -0.5]
    assert of["new"].tolist() == [0, 1, 0, 0]
    assert of["rate_30d"] == pytest.approx(odds(np.array([1 / 1.5, 0.5, 0.5 / 1.5, 1 / 2])))
    assert of["streak"] == pytest.approx(np.log(2) * np.array([1, 0, -1, -1]))
    assert of["since_failure"] == pytest.approx([0, 0, np.log(2), np.log(2)])
    alike = 3 / np.sqrt(3 * 4)
    assert of["similar"][0] == pytest.approx(odds(np.array((alike + 0.25) / (alike + 0.5))))
    assert of["similar_recent"][0] == pytest.approx(odds(np.array((alike / 2 + 0.25) / (alike / 2 + 0.5))))
    # Neighbours 10 and 12 are equally near; 30 is 19 away and counts for nothing.
    assert of["new_neighbours"][1] == pytest.approx(odds(np.array(0.5)) - odds(np.array(0.4)), abs=1e-5)
    assert history.durations(np.array([10, 30, 99])).tolist() == [5.0, 8.0, 6.0]


def test_the_ranker_finds_the_weights_of_a_plain_fit(project: Project, past: list[Any]) -> None:
    """Newton's steps, two per cycle, end where a general optimiser ends."""
    from scipy.optimize import minimize

    ranker = project.code("ranker:Ranker")()
    for cycle in past:
        ranker.learn(cycle)

    def loss(weights: Any) -> float:
        at = ranker._rows @ weights
        pull = 0.5 * ranker._pull @ (weights - ranker._start) ** 2
        return float(ranker._failed @ np.logaddexp(0, -at) + ranker._passed @ np.logaddexp(0, at) + pull)

    assert ranker.weights == pytest.approx(minimize(loss, ranker._start, method="BFGS").x, abs=0.01)


def test_learners_beat_chance_on_generated_cycles(project: Project, past: list[Any]) -> None:
    judge, policies = project.code("policies:judge"), project.code("policies:POLICIES")
    mean = {name: judge(policies[name](0), past).whole.mean() for name in ("random", "failure rate", "ranker")}
    best = judge(project.code("policies:Oracle")(past), past).whole.mean()
    assert mean["random"] == pytest.approx(0.5)
    assert 0.5 + 0.5 * (best - 0.5) < mean["ranker"] < best
    assert mean["ranker"] > mean["failure rate"]


def test_the_history_is_the_published_one_or_its_absence_is_said(project: Project) -> None:
    executions = project.code("source:executions")
    if PUBLISHED.is_file():
        rows = executions(PUBLISHED)
        failing = rows.groupby("cycle")["failed"].max().sum()
        assert (len(rows), rows["cycle"].nunique(), failing) == (32_260, 320, 271)
        return
    with pytest.warns(UserWarning, match="no test history.*modelyard data fetch test_priority"):
        assert len(executions(None)) > 1000


def test_rows_keep_to_time(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from modelyard.core.window import Window

    source = sys.modules[project.code("source:read").__module__]
    table = source.generated(seed=2, cycle_count=20, tests=30)
    own = tmp_path / "own.csv"
    names = {new: old for old, new in source.PUBLISHED.items()}
    table.rename(columns=names).to_csv(own, sep=";", index=False)
    monkeypatch.setenv(source.SETTING, str(own))
    rows = source.read(Window.parse("2024-01-01/2025-01-01"))
    assert len(rows) == len(table)
    assert (rows["known_at"] > rows["event_time"]).all()
    assert (rows.groupby("cycle")["event_time"].nunique() == 1).all()

    whole = project.code("features:build")(rows, None, rows["known_at"].max().ceil("h"))["test_recent"]
    cut = whole["event_timestamp"].sort_values().iloc[len(whole) // 2]
    early = project.code("features:build")(rows[rows["known_at"] <= cut], None, cut)["test_recent"]
    late = project.code("features:build")(rows, cut, rows["known_at"].max().ceil("h"))["test_recent"]
    both = pd.concat([early, late]).sort_values(["event_timestamp", "test"], ignore_index=True)
    pd.testing.assert_frame_equal(both, whole)


def test_a_file_that_does_not_exist_or_lacks_a_column_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from modelyard.core.errors import ConfigError

    monkeypatch.setenv("TEST_PRIORITY_DATA", str(tmp_path / "absent.csv"))
    with pytest.raises(ConfigError, match="TEST_PRIORITY_DATA"):
        project.code("source:path")()
    (tmp_path / "short.csv").write_text("Id,Name\n1,2\n")
    with pytest.raises(ConfigError, match="duration_ms"):
        project.code("source:executions")(tmp_path / "short.csv")


def test_only_the_published_bytes_are_kept(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import hashlib

    import httpx

    from modelyard.core.errors import IntegrityError

    source = sys.modules[project.code("source:fetch").__module__]
    monkeypatch.setattr(source, "FETCHED", tmp_path / "data" / "iofrol.csv")

    def answer(content: bytes) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(lambda _asked: httpx.Response(200, content=content)))

    with pytest.raises(IntegrityError, match="nothing was written"):
        source.fetch(answer(b"other"))
    assert not source.FETCHED.exists()
    monkeypatch.setattr(source, "SHA256", hashlib.sha256(b"known").hexdigest())
    assert source.fetch(answer(b"known")).read_bytes() == b"known"
    assert source.fetch(answer(b"not asked any more")).read_bytes() == b"known"


def test_the_command_fetches_what_the_models_source_offers(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    import hashlib

    from typer.testing import CliRunner

    from modelyard.cli import app

    source = sys.modules[project.code("source:fetch").__module__]
    kept = tmp_path / "iofrol.csv"
    kept.write_bytes(b"known")
    monkeypatch.setattr(source, "FETCHED", kept)
    monkeypatch.setattr(source, "SHA256", hashlib.sha256(b"known").hexdigest())
    monkeypatch.setenv("MODELYARD_ROOT", str(ROOT))
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELYARD_PROJECTS", f"{ROOT / 'projects'}:{ROOT / 'projects' / 'optional'}")
    done = CliRunner().invoke(app, ["data", "fetch", "test_priority"])
    assert done.exit_code == 0, done.output
    assert "Next: `modelyard data snapshot test_priority`" in done.output
    refused = CliRunner().invoke(app, ["data", "fetch", "flight_delay"])
    assert refused.exit_code != 0
    assert "fetch" in refused.output
