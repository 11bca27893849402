"""Releases for people: find one by its name, verify it against the ledger, tell two apart."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.core.errors import ConfigError, IntegrityError, NotFound
from modelyard.core.records import Release
from modelyard.core.value import Digest, Value
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle
from modelyard.release.check import faults_of
from modelyard.release.differences import Change, differences
from modelyard.release.names import ByAlias, ByDigest, ByVersion, parse_name


class Verified(Value):
    """What verifying a release came to; without faults, every digest was recomputed and agrees."""

    release: Digest
    bundle: str
    files: int
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
    """Recompute every digest of a release on record: of its manifest, of its bundle, of the snapshot it names.

    Raises:
        NotFound: there is no such release.
    """
    releases = platform.ledger.releases
    release, bundle = releases.get(digest), releases.bundle(digest)
    # Of a record that was changed nothing is known: a bundle that agrees with it would say nothing.
    changed = f"the ledger's manifest was changed: it is {release.digest}, recorded as {digest}"
    sound = release.digest == digest
    faults = (*faults_of(bundle, release), *_snapshot(platform, release)) if sound else (changed,)
    return Verified(release=digest, bundle=bundle, files=len(release.files), faults=faults)


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
