"""A source is held to what model.yaml says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.core.window import Window
from modelyard.data.source import read_source

CSV = """id,at,done,y,x
1,2013-01-01T00:00:00+01:00,2013-01-01T02:00:00Z,1,0.5
2,2013-01-01T00:00:00Z,2013-01-01T02:00:00Z,0,1.5
3,2013-01-01T12:00:00Z,,,2.5
4,2013-01-02T00:00:00Z,2013-01-02T02:00:00Z,0,3.5
"""
DAY = Window.parse("2013-01-01/2013-01-02")


def project(root: Path, csv: str = CSV, **source: str) -> Project:
    spec = {
        "name": "toy",
        "description": "A toy.",
        "owner": "team",
        "source": {"file": "rows.csv", "event_time": "at", "known_at": "done", "key": "id", **source},
        "label": {"column": "y", "depends_on_answer": False},
        "features": {"x": {"kind": "numeric", "from": "request"}},
    }
    folder = root / "projects" / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(spec))
    (folder / "rows.csv").write_text(csv)
    (folder / "code.py").write_text("def read(window):\n    return window\n")
    (root / "params.yaml").write_text("toy: {window_days: 1}\n")
    return load_project("toy", Settings.from_env({"MODELYARD_ROOT": str(root)}))


def test_a_window_is_half_open_and_moments_are_utc(tmp_path: Path) -> None:
    rows = read_source(project(tmp_path), DAY)
    assert rows["id"].tolist() == [2, 3]
    assert str(rows["at"].dtype) == "datetime64[us, UTC]"
    assert rows["done"].isna().tolist() == [False, True]


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source.known_at = 'don'.*done.*Did you mean 'done'"):
        read_source(project(tmp_path, known_at="don"), DAY)
    with pytest.raises(ConfigError, match=r"features.x = 'x'"):
        read_source(project(tmp_path, csv=CSV.replace(",x\n", ",z\n")), DAY)


def test_a_moment_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ISO 8601"):
        read_source(project(tmp_path, csv=CSV.replace("2013-01-02T00:00:00Z", "yesterday")), DAY)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rows.tsv.*an existing CSV"):
        read_source(project(tmp_path, file="rows.tsv"), DAY)
