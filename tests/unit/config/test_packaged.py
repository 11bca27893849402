"""A root's own folder holds, whole, where it has one; else what comes with Modelyard; what was named always."""

from __future__ import annotations

from pathlib import Path

from modelyard.config.settings import Settings

ROOT = Path(__file__).parents[3]


def settings(root: Path, **env: str) -> Settings:
    return Settings.from_env({"MODELYARD_ROOT": str(root), **env})


def test_a_root_without_its_own_has_what_the_package_is_built_from(tmp_path: Path) -> None:
    here = settings(tmp_path)
    assert (here.policies, here.feature_repo) == (ROOT / "policies", ROOT / "feature_repo")


def test_each_folder_of_the_root_counts_for_itself_even_when_empty(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    here = settings(tmp_path)
    assert (here.policies, here.feature_repo) == (tmp_path / "policies", ROOT / "feature_repo")


def test_a_path_that_was_named_is_never_replaced(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    here = settings(tmp_path, MODELYARD_POLICIES=absent, MODELYARD_FEATURE_REPO=absent)
    assert (here.policies, here.feature_repo) == (Path(absent), Path(absent))
