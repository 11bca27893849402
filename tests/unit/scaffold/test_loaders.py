"""A checkout has no packaged DAGs; with the wheel see tests/dags/test_wheel.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelyard.core.errors import ConfigError, Conflict, NotFound
from modelyard.scaffold import loaders


def package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with one file of DAGs."""
    (folder / "site" / "modelyard_airflow" / "dags").mkdir(parents=True)
    (folder / "site" / "modelyard_airflow" / "dags" / "daily.py").touch()
    monkeypatch.syspath_prepend(str(folder / "site"))
    monkeypatch.delitem(sys.modules, "modelyard_airflow", raising=False)  # another test may have imported the real one


def test_a_checkout_is_told_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"plugins_folder") as caught:
        loaders.install_loaders(tmp_path)
    assert "wheel" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="dags_folder"):
        loaders.install_loaders(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_foreign_file_is_kept_and_an_own_one_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    folder, path = tmp_path / "dags", tmp_path / "dags" / "modelyard_daily.py"
    folder.mkdir()
    path.write_text("mine\n")
    with pytest.raises(Conflict, match=r"modelyard_daily\.py"):
        loaders.install_loaders(folder)
    assert path.read_text() == "mine\n"
    path.write_text(f"{loaders.MARK}, long ago\n")
    assert loaders.install_loaders(folder) == {path: "written"}
    assert loaders.install_loaders(folder) == {path: "unchanged"}
    assert list(folder.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644
    assert all(word in path.read_text().lower() for word in ("airflow", "dag"))  # what Airflow's safe mode looks for
