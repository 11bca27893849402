"""A builder or a frame that knows the future is found out."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import EvidenceMissing
from modelyard.features.join import point_in_time
from modelyard.features.leakage import find_leaks

START = pd.Timestamp("2013-01-01", tz="UTC")
BUILDER = """
    import pandas as pd
    from modelyard.features.rolling import Rolling, full_hours

    def build(rows, after, until):
        hours = full_hours(rows["KNOWN"].min(), pd.Timestamp(until))
        grid = pd.DataFrame({"site": "a", "event_timestamp": hours})
        seen = Rolling(rows["site"], rows["KNOWN"], rows[["y"]])
        sums = seen.over(grid["site"], grid["event_timestamp"], pd.Timedelta(hours=6))
        return {"recent": grid.assign(late=sums["y"])}
"""
SPEC = {
    "name": "toy",
    "description": "A toy.",
    "owner": "team",
    "source": {"file": "rows.csv", "event_time": "at", "known_at": "done", "key": "id"},
    "label": {"column": "y", "depends_on_answer": False},
    "entities": {"site": "site"},
    "feature_builder": "features:build",
    "feature_views": {"recent": {"entity": "site", "ttl_hours": 24}},
    "features": {"late": {"kind": "numeric", "from": "recent"}},
}


def project(root: Path, counted_from: str) -> Project:
    folder = root / "projects" / "toy"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(SPEC))
    (folder / "features.py").write_text(textwrap.dedent(BUILDER).replace("KNOWN", counted_from))
    (root / "params.yaml").write_text("toy: {window_days: 1}\n")
    return load_project("toy", Settings.from_env({"MODELYARD_ROOT": str(root)}))


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    at = START + pd.to_timedelta(np.sort(rng.integers(0, 5 * 24 * 60, 300)), unit="m")
    done = at + pd.to_timedelta(rng.integers(60, 600, 300), unit="m")
    label = rng.integers(0, 2, 300).astype(float)
    return pd.DataFrame({"id": [f"r{i}" for i in range(300)], "at": at, "done": done, "site": "a", "y": label})


def frame_of(project: Project, rows: pd.DataFrame) -> pd.DataFrame:
    tables = project.code("features:build")(rows, None, rows["done"].max())
    return point_in_time(project.spec, rows, tables)


def test_an_honest_builder_has_no_leaks(tmp_path: Path, rows: pd.DataFrame) -> None:
    toy = project(tmp_path, counted_from="done")
    report = find_leaks(toy, frame_of(toy, rows), rows, moments=20, generator=np.random.default_rng(1))
    assert report.leaks == ()
    assert report.values >= 20


def test_a_builder_that_counts_outcomes_before_they_are_known_is_caught(tmp_path: Path, rows: pd.DataFrame) -> None:
    toy = project(tmp_path, counted_from="at")
    report = find_leaks(toy, frame_of(toy, rows), rows, moments=20, generator=np.random.default_rng(1))
    assert len(report.leaks) > 5
    assert "at the time of asking it was" in str(report.leaks[0])


def test_a_frame_joined_with_later_stamped_rows_is_caught(tmp_path: Path, rows: pd.DataFrame) -> None:
    toy = project(tmp_path, counted_from="done")
    tables = toy.code("features:build")(rows, None, rows["done"].max())
    tables["recent"]["event_timestamp"] -= pd.Timedelta(hours=1)
    leaky = point_in_time(toy.spec, rows, tables)
    assert find_leaks(toy, leaky, rows, moments=20, generator=np.random.default_rng(1)).leaks


def test_nothing_compared_is_no_clean_bill(tmp_path: Path, rows: pd.DataFrame) -> None:
    toy = project(tmp_path, counted_from="done")
    with pytest.raises(EvidenceMissing):
        find_leaks(toy, frame_of(toy, rows).iloc[:0], rows, moments=5, generator=np.random.default_rng(1))
