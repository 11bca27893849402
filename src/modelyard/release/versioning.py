"""Semantic versions of releases: what a caller would notice decides which part grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelyard.core.digest import digest_json
from modelyard.core.records import Release, SemVer
from modelyard.release.signature import Signature

FIRST = SemVer(major=1, minor=0, patch=0)
MAJOR_PARTS = ("architecture", "interface")
"""The manifest's parts whose change makes a major version."""
WEIGHTS = "weights.safetensors"
"""What a retraining makes anew: with the champion's own it is a fix, of the calibration say."""


def interface_digest(signature: Signature) -> str:
    """The digest of what a caller has to know. Vocabularies are learned from the data and are no part of it."""
    inputs = [i.to_dict() | {"vocabulary": []} for i in signature.inputs]
    return digest_json(signature.to_dict() | {"inputs": inputs})


def next_version(
    parts: Mapping[str, str], files: Mapping[str, str], base: Release | None, taken: Iterable[str]
) -> SemVer:
    """Major if the architecture or the interface differs from ``base`` (the champion, else the newest), patch if the
    weights are the very same (a recalibration, a fix around the model), else minor: a retraining.

    ``files`` are the digests of the bundle's files. Always a version that nobody has ``taken``: releases that were
    turned down keep theirs.
    """
    known = [SemVer.parse(text) for text in taken]
    if base is None:
        return max(known).bump("major") if known else FIRST
    if any(parts.get(name) != base.parts.get(name) for name in MAJOR_PARTS):
        return max(known).bump("major")
    found = SemVer.parse(base.semver)
    family = [v for v in known if v.major == found.major]
    if base.files.get(WEIGHTS) is not None and files.get(WEIGHTS) == base.files[WEIGHTS]:
        return max(v for v in family if v.minor == found.minor).bump("patch")
    return max(family).bump("minor")
