"""Canonical JSON and content digests: equal values have equal bytes, everywhere and for ever."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Encode plain JSON data with sorted keys and no white space; NaN and infinity are refused.

    After RFC 8785 in spirit (numbers are written by Python's shortest repr).

    Raises:
        ValueError: the value holds NaN or an infinity.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_bytes(data: bytes) -> str:
    """Name bytes by content.

    >>> digest_bytes(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Name plain JSON data by the digest of its canonical form."""
    return digest_bytes(canonical_json(value))


def digest_file(path: Path) -> str:
    """Name a file by its content, read in chunks of 1 MiB."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return "sha256:" + sha.hexdigest()


def short(digest: str, length: int = 12) -> str:
    """A digest as people read it.

    >>> short("sha256:e3b0c44298fc1c149afbf4c8996fb924")
    'e3b0c44298fc'
    """
    return digest.removeprefix("sha256:")[:length]
