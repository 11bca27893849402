"""Recomputes every digest of a bundle against the manifest on record, checks its signature, and names what is wrong.

``read_bundle`` refuses at the first fault, for those who want to serve; this is for those who want to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from modelyard.core.digest import digest_bytes
from modelyard.core.errors import Untrusted
from modelyard.core.records import Release
from modelyard.ports.signing import Trust
from modelyard.release.bundle import MANIFEST, SIGNED, signer_of


def faults_of(uri: str, recorded: Release, trust: Trust) -> tuple[str, ...]:
    """What is wrong with the bundle at ``uri``, by the manifest that the ledger has and the keys that are trusted;
    nothing, if all digests agree and a trusted key has signed it.

    A place that cannot be read is a fault: what was not seen is not verified.
    """
    import fsspec

    try:
        fs, folder = fsspec.core.url_to_fs(uri)
        present = {str(path).removeprefix(f"{folder.rstrip('/')}/") for path in fs.find(folder)}
    except (OSError, ValueError) as error:
        return (f"{uri} cannot be read: {error}",)
    if not present:
        return (f"{uri}: there is no bundle",)
    return (*_faults(fs, folder, present, recorded), *_signature(uri, recorded, trust))


def _faults(fs: Any, folder: str, present: set[str], recorded: Release) -> Iterator[str]:
    for name in sorted({MANIFEST, *recorded.files}):
        content = _content(fs, f"{folder}/{name}") if name in present else None
        if content is None:
            yield f"{name} is absent"
        elif isinstance(content, str):
            yield f"{name} cannot be read: {content}"
        elif name == MANIFEST:
            yield from _manifest(content, recorded)
        elif (found := digest_bytes(content)) != recorded.files[name]:
            yield f"{name} was changed: it is {found}, the manifest names {recorded.files[name]}"
    for name in sorted(present - {MANIFEST, SIGNED, *recorded.files}):
        yield f"{name} lies in the bundle and is not named by the manifest"


def _signature(uri: str, recorded: Release, trust: Trust) -> Iterator[str]:
    try:
        signer_of(uri, recorded.digest, trust)
    except Untrusted as error:
        yield f"signature: {error}"


def _content(fs: Any, path: str) -> bytes | str:
    """The bytes, or why there are none."""
    try:
        return bytes(fs.cat_file(path))
    except OSError as error:
        return str(error) or type(error).__name__


def _manifest(content: bytes, recorded: Release) -> Iterator[str]:
    try:
        found = Release.from_json(content)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) or "the whole" for e in error.errors()[:5])
        yield f"{MANIFEST} is no release manifest ({fields})"
        return
    if found.digest != recorded.digest:
        before, after = recorded.to_dict(), found.to_dict()
        changed = ", ".join(sorted(key for key in before | after if before.get(key) != after.get(key)))
        yield f"{MANIFEST} was changed ({changed}): it is release {found.digest}, the ledger has {recorded.digest}"
    elif content != recorded.to_json().encode():
        yield f"{MANIFEST} is not in canonical form: its bytes were changed, its content was not"
