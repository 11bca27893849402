"""Secrets are made once and stay private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modelyard.core.errors import IntegrityError
from modelyard.runtime.secrets import AIRFLOW_USERS, load_or_make_secrets, read_secrets, secrets_folder, write_private


def test_made_once_and_read_ever_after(tmp_path: Path) -> None:
    assert read_secrets(tmp_path) is None
    first = load_or_make_secrets(tmp_path)
    assert load_or_make_secrets(tmp_path) == first == read_secrets(tmp_path)
    assert len(set(first.values.values())) == len(first.values)
    assert set(first.airflow_passwords) == set(AIRFLOW_USERS)
    assert len(first["airflow-jwt-secret"]) >= 64


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    load_or_make_secrets(tmp_path)
    folder = secrets_folder(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_text_form_shows_no_value(tmp_path: Path) -> None:
    secrets = load_or_make_secrets(tmp_path)
    assert not [value for value in secrets.values.values() if value in repr(secrets)]


def test_the_source_of_randomness_is_given(tmp_path: Path) -> None:
    secrets = load_or_make_secrets(tmp_path, token=lambda size: "x" * size)
    assert secrets["postgres-airflow"] == "x" * 24


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("postgres-admin", "", "is empty"),
        ("airflow-passwords.json", "{", "is not JSON"),
        ("airflow-passwords.json", '{"admin": "a"}', "no password for demo-approver-1, demo-approver-2"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    load_or_make_secrets(tmp_path)
    (secrets_folder(tmp_path) / name).write_text(text)
    with pytest.raises(IntegrityError, match=message):
        load_or_make_secrets(tmp_path)


def test_write_private_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for text in ("one", "two"):
        write_private(path, text)
        assert path.read_text() == text
    assert [p.name for p in path.parent.iterdir()] == ["file"]
