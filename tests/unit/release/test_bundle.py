"""A bundle is whole or absent, and every byte of it is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.bundles import write_bundle_of

from modelyard.core.errors import IntegrityError
from modelyard.core.records import Release
from modelyard.release.bundle import MANIFEST, publish_bundle, read_bundle


@pytest.fixture
def made(tmp_path: Path) -> tuple[Release, dict[str, bytes]]:
    release, arm = write_bundle_of(tmp_path / "made")
    return release, dict(read_bundle(arm.bundle).files)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_what_is_published_is_read_back(tmp_path: Path, made: tuple[Release, dict[str, bytes]], scheme: str) -> None:
    base = tmp_path.as_uri() if scheme == "file" else f"memory://{tmp_path.name}"
    uri = publish_bundle(base, *made)
    bundle = read_bundle(uri, made[0].digest)
    assert (bundle.release, dict(bundle.files)) == made
    assert publish_bundle(base, *made) == uri


def test_nothing_is_left_beside_a_published_bundle(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    publish_bundle(tmp_path.as_uri(), *made)
    (only,) = (tmp_path / made[0].model).iterdir()
    assert only.name == made[0].digest.removeprefix("sha256:")


def test_a_folder_without_a_manifest_is_mended(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    folder = tmp_path / made[0].model / made[0].digest.removeprefix("sha256:")
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"half")
    assert read_bundle(publish_bundle(tmp_path.as_uri(), *made)).release == made[0]


def test_files_that_the_release_does_not_name_are_not_published(
    tmp_path: Path, made: tuple[Release, dict[str, bytes]]
) -> None:
    with pytest.raises(IntegrityError, match="not those"):
        publish_bundle(tmp_path.as_uri(), made[0], made[1] | {"model.onnx": b"other"})


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", MANIFEST])
def test_an_absent_file_is_refused(tmp_path: Path, made: tuple[Release, dict[str, bytes]], name: str) -> None:
    uri = publish_bundle(tmp_path.as_uri(), *made)
    Path(uri.removeprefix("file://"), name).unlink()
    with pytest.raises(IntegrityError, match="absent"):
        read_bundle(uri)


def test_a_changed_byte_is_refused(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    uri = publish_bundle(tmp_path.as_uri(), *made)
    path = Path(uri.removeprefix("file://"), "model.onnx")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match="does not match"):
        read_bundle(uri)


def test_another_release_than_expected_is_refused(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    with pytest.raises(IntegrityError, match="not sha256:0"):
        read_bundle(publish_bundle(tmp_path.as_uri(), *made), "sha256:" + "0" * 64)
