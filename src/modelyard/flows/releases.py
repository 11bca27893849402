"""Releases for people: find one by its name, verify it against the ledger and by its signatures, tell two apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from modelyard.core.errors import ConfigError, IntegrityError, NotFound
from modelyard.core.records import AuditEvent, Release
from modelyard.core.value import Digest, Value
from modelyard.flows import attest
from modelyard.ports.platform import Platform
from modelyard.ports.signing import Trust
from modelyard.release.bundle import read_bundle, sign_bundle
from modelyard.release.check import faults_of
from modelyard.release.differences import Change, differences
from modelyard.release.names import ByAlias, ByDigest, ByVersion, parse_name
from modelyard.signing.keys import NOBODY


class Verified(Value):
    """What verifying a release came to; without faults, every digest was recomputed and agrees, and all that must be
    signed is signed by a trusted key."""

    release: Digest
    bundle: str
    files: int
    attestations: int
    faults: tuple[str, ...]


def find(platform: Platform, name: str) -> str:
    """The digest under which the release of this name (``release.names``) is on record.

    Raises:
        ConfigError: this is no name, or a beginning that several digests share.
        NotFound: there is no such release.
        IntegrityError: the record that an alias leads to was changed.
    """
    match parse_name(name):
        case ByDigest(prefix):
            found = platform.ledger.releases.recorded(prefix=prefix)
        case ByVersion(model, version):
            found = platform.ledger.releases.recorded(model=model, version=version)
        case ByAlias() as asked:
            found = [_of_alias(platform, asked)]
    if not found:
        raise NotFound("release", name, hint="`modelyard releases MODEL` lists them.")
    if len(found) > 1:
        raise ConfigError("release", name, found, hint="More digits tell them apart.")
    return found[0]


def _of_alias(platform: Platform, asked: ByAlias) -> str:
    releases, rollouts = platform.ledger.releases, platform.ledger.rollouts
    if asked.alias == "challenger":
        rollout = rollouts.current(asked.model)
        digest = None if rollout is None else str(rollouts.get(rollout)[0]["challenger"]["release"])
    else:
        release = releases.champion(asked.model) if asked.alias == "champion" else releases.previous(asked.model)
        digest = None if release is None else release.digest
    if digest is None:
        why = "no rollout is open" if asked.alias == "challenger" else "none was promoted"
        raise NotFound(f"{asked.alias} of", asked.model, hint=f"Of this model {why}; `modelyard releases` lists all.")
    if not releases.recorded(prefix=digest):
        raise IntegrityError(f"the ledger's record of {asked.model}'s {asked.alias} was changed: it is {digest} now")
    return digest


def get(platform: Platform, name: str) -> Release:
    """The manifest of a release by its name; see ``find``.

    Raises:
        IntegrityError: the manifest on record is not the one that its digest names.
    """
    digest = find(platform, name)
    release = platform.ledger.releases.get(digest)
    if release.digest != digest:
        raise IntegrityError(f"the ledger's manifest of {digest} was changed: it is {release.digest} now")
    return release


def verify(platform: Platform, digest: str) -> Verified:
    """Recompute every digest of a release on record, of its manifest, of its bundle, of the snapshot it names; verify
    the signatures of its manifest and of the attestations about it.

    Raises:
        NotFound: there is no such release.
    """
    releases = platform.ledger.releases
    release, bundle = releases.get(digest), releases.bundle(digest)
    # Of a record that was changed nothing is known: a bundle that agrees with it would say nothing.
    changed = f"the ledger's manifest was changed: it is {release.digest}, recorded as {digest}"
    sound = release.digest == digest
    faults = tuple(_all_faults(platform, release, bundle)) if sound else (changed,)
    kept = len(platform.ledger.journal.attestations(digest))
    return Verified(release=digest, bundle=bundle, files=len(release.files), attestations=kept, faults=faults)


def _all_faults(platform: Platform, release: Release, bundle: str) -> Iterator[str]:
    trust, why = _trust(platform)
    yield from why
    yield from faults_of(bundle, release, trust)
    yield from _snapshot(platform, release)
    yield from attest.faults(platform, release, trust)


def _trust(platform: Platform) -> tuple[Trust, tuple[str, ...]]:
    """Whom to trust: where that cannot be told, nobody, which is a fault."""
    try:
        return platform.trust, ()
    except ConfigError as error:
        return NOBODY, (f"no signature can be verified: {error}",)


def _snapshot(platform: Platform, release: Release) -> Iterator[str]:
    """The snapshot on record must be the one the manifest names; its rows are read by whoever trains."""
    try:
        snapshot = platform.ledger.snapshots.get(release.snapshot)
    except NotFound:
        yield f"snapshot {release.snapshot} is not on record"
        return
    named = (release.model, release.snapshot, release.dvc_md5)
    if (snapshot.model, snapshot.content, snapshot.dvc_md5) != named:
        yield f"the record of snapshot {release.snapshot} was changed: it is not what the manifest names"


def diff(platform: Platform, before: Release, after: Release) -> tuple[Change, ...]:
    """What changed from one release to the other.

    Raises:
        IntegrityError: a bundle is not what its manifest says; nothing can be said about it then.
    """
    one, other = (read_bundle(platform.ledger.releases.bundle(r.digest), r.digest) for r in (before, after))
    return differences(before, after, one.files, other.files)


def sign(platform: Platform, digest: str, *, by: str, why: str, now: datetime) -> tuple[str, ...]:
    """Sign a release by hand with the present key, and attest what is on record about it and is not: after the key was
    changed, or for a release from before releases were signed. Returns what was signed; entered in the audit log.

    The bundle is compared with the ledger first; a signature that is there already stays beside the new one.

    Raises:
        NotFound: there is no such release.
        IntegrityError: the manifest on record or the bundle is not what the digest names.
        ConfigError: there is no key to sign with.
    """
    releases, signer = platform.ledger.releases, platform.signer
    release, uri = releases.get(digest), releases.bundle(digest)
    if release.digest != digest:
        raise IntegrityError(f"the ledger's manifest of {digest} was changed: it is {release.digest} now")
    read_bundle(uri, digest)
    done = ["the manifest"] if sign_bundle(uri, release, signer) else []
    done += attest.afterwards(platform, release, by, why, now)
    if done:
        event = AuditEvent(
            at=now, actor=by, action="release.signed", model=release.model, subject=digest, reason=why,
            digests=(digest, signer.key), detail={"signed": list(done)},
        )  # fmt: skip
        platform.ledger.journal.audit(event)
    return tuple(done)
