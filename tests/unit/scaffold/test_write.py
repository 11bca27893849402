"""The skeleton of a new model loads as it is written, and a refused one leaves nothing behind."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError, Conflict
from modelyard.scaffold.write import write_skeleton

END = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_skeleton_is_a_valid_model_on_its_own(tmp_path: Path) -> None:
    write_skeleton("churn", tmp_path / "projects", end=END)
    project = load_project("churn", Settings.from_env({"MODELYARD_ROOT": str(tmp_path)}))
    rows = list(csv.DictReader((project.folder / "data.csv").read_text().splitlines()))
    spec = project.spec
    named = {spec.source.event_time, spec.source.known_at, spec.source.key, spec.label.column, *spec.features}
    assert named <= set(rows[0])
    assert all(datetime.fromisoformat(r["read_at"]) < END for r in rows)
    assert {r["needs_repair"] for r in rows} == {"0", "1"}


def test_the_example_rows_are_seeded(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_skeleton("churn", tmp_path / folder, end=END)
    assert (tmp_path / "a/churn/data.csv").read_text() == (tmp_path / "b/churn/data.csv").read_text()


@pytest.mark.parametrize("name", ["Churn", "1st", "a-b", "../up", "", "x" * 64])
def test_a_bad_name_writes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="lower-case"):
        write_skeleton(name, tmp_path / "projects", end=END)
    assert not (tmp_path / "projects").exists()


def test_an_existing_model_is_never_written_over(tmp_path: Path) -> None:
    write_skeleton("churn", tmp_path, end=END)
    (tmp_path / "churn" / "card.md").write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        write_skeleton("churn", tmp_path, end=END)
    assert (tmp_path / "churn" / "card.md").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["churn"]
