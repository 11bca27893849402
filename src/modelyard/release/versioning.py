"""Semantic versions of releases: what a caller would notice decides which part grows."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.core.digest import digest_json
from modelyard.core.records import Release, SemVer
from modelyard.release.signature import Signature

FIRST = SemVer(major=1, minor=0, patch=0)
MAJOR_PARTS = ("architecture", "interface")
"""The manifest's parts whose change makes a major version."""


def interface_digest(signature: Signature) -> str:
    """The digest of what a caller has to know. Vocabularies are learned from the data and are no part of it."""
    inputs = [i.to_dict() | {"vocabulary": []} for i in signature.inputs]
    return digest_json(signature.to_dict() | {"inputs": inputs})


def next_version(parts: dict[str, str], base: Release | None, taken: Iterable[str]) -> SemVer:
    """Major if the architecture or the interface differs from ``base`` (the champion, else the newest), else minor.

    Always a version that nobody has ``taken``: releases that were turned down keep theirs.
    """
    known = [SemVer.parse(text) for text in taken]
    if base is None:
        return max(known).bump("major") if known else FIRST
    if any(parts.get(name) != base.parts.get(name) for name in MAJOR_PARTS):
        return max(known).bump("major")
    family = SemVer.parse(base.semver).major
    return max(v for v in known if v.major == family).bump("minor")
