"""The bundle: a folder with everything that serving needs of a release, each file named by its digest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelyard.core.digest import digest_bytes
from modelyard.core.errors import IntegrityError, Untrusted
from modelyard.core.records import Release
from modelyard.ports.signing import Signer, Trust
from modelyard.signing.dsse import Envelope, countersign
from modelyard.signing.statement import read_statement, sign_release

MANIFEST = "manifest.json"
SIGNED = "manifest.dsse.json"
"""The manifest's signature: the statement of ``signing.statement.sign_release`` in its envelope."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that has been read and verified."""

    release: Release
    files: Mapping[str, bytes]


def read_bundle(uri: str, expected: str | None = None, *, trust: Trust | None = None) -> Bundle:
    """Read a bundle from any place that fsspec knows, and verify every file against the manifest.

    With ``trust`` a trusted key must have signed the manifest; without, ``expected`` should come from the ledger.

    Raises:
        IntegrityError: a file is absent or does not match its digest, or the release is not the expected one.
        Untrusted: no trusted key has signed the manifest.
    """
    import fsspec

    fs, folder = fsspec.core.url_to_fs(uri)
    release = Release.from_json(_read(fs, f"{folder}/{MANIFEST}"))
    if expected is not None and release.digest != expected:
        raise IntegrityError(f"{uri} holds release {release.digest}, not {expected}")
    if trust is not None:
        _verify(uri, release, trust)
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


def publish_bundle(base: str, release: Release, files: Mapping[str, bytes], signer: Signer) -> str:
    """Keep a release's bundle, signed, under ``<base>/<model>/<digest>``; returns its URI.

    The same release again is a no-op. A reader sees all of it or none: on a file system the folder is renamed into
    place, elsewhere the manifest, without which a folder is no bundle, comes last.

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
        sign_bundle(uri, release, signer)
        return uri
    signed = sign_release(release, signer).to_json().encode()
    content = {**files, SIGNED: signed, MANIFEST: release.to_json().encode()}
    if isinstance(fs, LocalFileSystem):
        _rename_into_place(Path(folder), content)
    else:
        for name, data in content.items():
            fs.pipe_file(f"{folder}/{name}", data)
    return uri


def sign_bundle(uri: str, release: Release, signer: Signer) -> bool:
    """Sign a bundle that lies there with this key, besides those that have; returns whether that was to be done.

    Raises:
        Untrusted: what lies there as its signature is none, or says something else than that this release is ours.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    fs, folder = fsspec.core.url_to_fs(uri)
    path = f"{folder}/{SIGNED}"
    before = Envelope.from_json(fs.cat_file(path)) if fs.exists(path) else None
    fresh = sign_release(release, signer)
    if before is not None and (before.payload_type, before.payload) != (fresh.payload_type, fresh.payload):
        # Whoever can write there must not have our key put under words of their own.
        raise Untrusted(f"{path} says something else than that this release is ours; remove it, then sign")
    after = countersign(before, signer) if before is not None else fresh
    if after == before:
        return False
    if isinstance(fs, LocalFileSystem):
        draft = Path(folder) / f".{SIGNED}.{os.getpid()}"
        draft.write_text(after.to_json(), encoding="utf-8")
        draft.replace(path)
    else:
        fs.pipe_file(path, after.to_json().encode())
    return True


def signer_of(uri: str, release: str, trust: Trust) -> str:
    """The trusted key that has signed the manifest of the release of this digest, by the file beside it.

    Raises:
        Untrusted: there is none.
    """
    import fsspec

    fs, folder = fsspec.core.url_to_fs(uri)
    try:
        envelope = Envelope.from_json(fs.cat_file(f"{folder}/{SIGNED}"))
    except OSError:
        raise Untrusted(f"{SIGNED} is absent: nobody has signed it (`modelyard release sign` does)") from None
    return read_statement(envelope, "release", release, trust)[1]


def _verify(uri: str, release: Release, trust: Trust) -> None:
    try:
        signer_of(uri, release.digest, trust)
    except Untrusted as error:
        raise Untrusted(f"{uri}: {error}") from None


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
