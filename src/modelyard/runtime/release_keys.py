"""The key pair that signs releases: made once, changed by hand, trusted until somebody says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from modelyard.config.settings import Settings
from modelyard.core.digest import short
from modelyard.core.errors import Conflict, NotFound
from modelyard.runtime.secrets import write_private
from modelyard.signing.keys import Ed25519Signer, TrustedKey, load_signer, load_trust, read_signer, read_trust


def ensure_keys(settings: Settings) -> None:
    """Make what is missing in the installation's own home; the demo's key is marked as such.

    Raises:
        ConfigError: a file that is named elsewhere is absent; one is wrong; one is the demo's in production.
    """
    private, trusted = settings.signing_key_file, settings.trusted_keys_file
    if all(path.is_relative_to(settings.home) for path in (private, trusted)):
        if not private.exists():
            change_key(settings)
        elif not trusted.exists():
            _write_trusted(trusted, [load_signer(private).trusted()])
    read_signer(settings)
    read_trust(settings)


def change_key(settings: Settings) -> Ed25519Signer:
    """Sign with a new key from now on. It is trusted besides the earlier ones; the earlier private key is lost.

    Raises:
        ConfigError: the file of the trusted keys is wrong.
    """
    made = Ed25519Signer.make(demo=settings.profile == "demo")
    trusted = settings.trusted_keys_file
    before = load_trust(trusted).all.values() if trusted.exists() else ()
    _write_trusted(trusted, [*before, made.trusted()])  # first: what is signed with it must be believed
    write_private(settings.signing_key_file, made.private_pem())
    return made


def distrust(settings: Settings, prefix: str) -> TrustedKey:
    """Believe a key no more, named by the beginning of its id. What only it has signed is loaded no more.

    Raises:
        NotFound: no trusted key, or more than one, has such an id.
        Conflict: it is the only one, or the one that signs.
    """
    path = settings.trusted_keys_file
    kept = load_trust(path).all
    found = [one for one in kept.values() if one.id.removeprefix("sha256:").startswith(prefix.removeprefix("sha256:"))]
    if len(found) != 1 or not prefix:
        raise NotFound("trusted key", prefix, known=map(short, kept), hint="Give as many digits as tell one apart.")
    (gone,) = found
    if len(kept) == 1 or (settings.signing_key_file.exists() and load_signer(settings.signing_key_file).key == gone.id):
        raise Conflict(f"key {short(gone.id)} signs now, or is the only trusted one; `modelyard keys make` comes first")
    _write_trusted(path, [one for one in kept.values() if one is not gone])
    return gone


def key_files(folder: Path) -> dict[str, str]:
    """The contents of the two files for containers, by name; those in this folder keep theirs, none is the demo's."""
    private, trusted = folder / "release-signing-key", folder / "trusted-keys"
    if not private.exists():
        write_private(private, Ed25519Signer.make().private_pem())
    own = load_signer(private).trusted()
    known = trusted.read_text(encoding="utf-8") if trusted.exists() else own.pem()
    return {private.name: private.read_text(encoding="utf-8"), trusted.name: known}


def _write_trusted(path: Path, keys: Iterable[TrustedKey]) -> None:
    """Whole or not at all; anybody may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text("".join(one.pem() for one in keys), encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)
