"""The bundle: a folder with everything that serving needs of a release, each file named by its digest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelyard.core.digest import digest_bytes
from modelyard.core.errors import IntegrityError
from modelyard.core.records import Release

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that has been read and verified."""

    release: Release
    files: Mapping[str, bytes]


def read_bundle(uri: str, expected: str | None = None) -> Bundle:
    """Read a bundle from any place that fsspec knows, and verify every file against the manifest.

    Raises:
        IntegrityError: a file is absent or does not match its digest, or the release is not the expected one.
    """
    import fsspec

    fs, folder = fsspec.core.url_to_fs(uri)
    release = Release.from_json(_read(fs, f"{folder}/{MANIFEST}"))
    if expected is not None and release.digest != expected:
        raise IntegrityError(f"{uri} holds release {release.digest}, not {expected}")
    files = {name: _read(fs, f"{folder}/{name}") for name in release.files}
    for name, data in files.items():
        if digest_bytes(data) != release.files[name]:
            raise IntegrityError(f"{uri}/{name} does not match its digest {release.files[name]}")
    return Bundle(release, files)


def write_parts(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write the files of a bundle-to-be into a local folder; returns the digest of each, for its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: digest_bytes(data) for name, data in sorted(files.items())}


def publish_bundle(base: str, release: Release, files: Mapping[str, bytes]) -> str:
    """Keep a release's bundle under ``<base>/<model>/<digest>``; returns its URI. The same release again is a no-op.

    A reader sees all of it or none: on a file system the folder is renamed into place, elsewhere the manifest, without
    which a folder is no bundle, comes last.

    Raises:
        IntegrityError: the files are not those that the release names.
    """
    if {name: digest_bytes(data) for name, data in files.items()} != release.files:
        raise IntegrityError(f"the files are not those that release {release.digest} names")
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    uri = f"{base.rstrip('/')}/{release.model}/{release.digest.removeprefix('sha256:')}"
    fs, folder = fsspec.core.url_to_fs(uri)
    if fs.exists(f"{folder}/{MANIFEST}"):
        read_bundle(uri, release.digest)
        return uri
    content = {**files, MANIFEST: release.to_json().encode()}
    if isinstance(fs, LocalFileSystem):
        _rename_into_place(Path(folder), content)
    else:
        for name, data in content.items():
            fs.pipe_file(f"{folder}/{name}", data)
    return uri


def _rename_into_place(folder: Path, content: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".bundle-", dir=folder.parent) as scratch:
        whole = Path(scratch) / "bundle"
        write_parts(whole, content)
        whole.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # what is left of a folder without a manifest
        whole.rename(folder)


def _read(fs: Any, path: str) -> bytes:
    try:
        data: bytes = fs.cat_file(path)
    except FileNotFoundError:
        raise IntegrityError(f"{path} is absent") from None
    return data
