"""Statements about a release, in the form of in-toto (in-toto.io/Statement/v1), and what signing them means.

The subject is the release by its digest, which is the SHA-256 of ``manifest.json``. What is said is the predicate,
whose type is one of ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from modelyard.core.digest import canonical_json, short
from modelyard.core.errors import Untrusted
from modelyard.core.records import AttestationKind, Release
from modelyard.ports.signing import Signer, Trust
from modelyard.signing.dsse import Envelope, opened, seal

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
Kind = Literal["release"] | AttestationKind
"""``release``: this manifest is ours. The others: this was decided or done about it."""
KINDS: tuple[str, ...] = ("release", *get_args(AttestationKind))


def predicate_type(kind: Kind) -> str:
    """The URI that names the kind of predicate. It leads nowhere, which the specification allows."""
    return f"https://modelyard/{kind}/v1"


class Subject(BaseModel):
    """What a statement is about, by digest (algorithm: hex)."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    digest: dict[str, str]


class Statement(BaseModel):
    """A statement that was signed, and by which key. Unknown fields are ignored, as the specification asks."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    kind: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1)
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, JsonValue]


def sign_statement(kind: Kind, release: Release, predicate: Mapping[str, JsonValue], signer: Signer) -> Envelope:
    """A signed statement about a release."""
    body = {
        "_type": STATEMENT,
        "subject": [{"name": name_of(release), "digest": {"sha256": release.digest.removeprefix("sha256:")}}],
        "predicateType": predicate_type(kind),
        "predicate": dict(predicate),
    }
    return seal(PAYLOAD_TYPE, canonical_json(body), signer)


def sign_release(release: Release, signer: Signer) -> Envelope:
    """The signature of a manifest: that this release is ours."""
    said: dict[str, JsonValue] = {name: getattr(release, name) for name in ("model", "version", "semver", "author")}
    return sign_statement("release", release, said, signer)


def read_statement(envelope: Envelope, kind: Kind, release: str, trust: Trust) -> tuple[Statement, str]:
    """What was said about the release of this digest, and the trusted key that signed it.

    Raises:
        Untrusted: no trusted key has signed it, or it is another kind of statement, or about another release.
    """
    payload, key = opened(envelope, PAYLOAD_TYPE, trust)
    try:
        found = Statement.model_validate_json(payload)
    except ValidationError:
        raise Untrusted("what was signed is no in-toto statement") from None
    if found.predicate_type != predicate_type(kind):
        raise Untrusted(f"what was signed is {found.predicate_type!r}, not {predicate_type(kind)!r}")
    about = [subject.digest.get("sha256", "") for subject in found.subject]
    if about != [release.removeprefix("sha256:")]:
        raise Untrusted(f"it was signed for release {', '.join(map(short, about))}, this is {short(release)}")
    return found, key


def name_of(release: Release) -> str:
    """How people name a release: ``MODEL@VERSION``."""
    return f"{release.model}@{release.version}"
