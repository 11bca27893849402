"""Ed25519 keys in PEM files, as ``openssl genpkey -algorithm ed25519`` writes them; the demo's are marked as such.

A line ``Modelyard-Key: demo`` before a PEM block marks a key that was made by the demo for itself: everybody who tries
the platform has one, nobody guards it, and the production profile refuses it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from modelyard.config.settings import Profile, Settings
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MARK = "Modelyard-Key: demo"
SIGNING, TRUSTED = "MODELYARD_SIGNING_KEY_FILE", "MODELYARD_TRUSTED_KEYS_FILE"
_MAKE = "`modelyard keys make` makes a key pair."
_BLOCK = re.compile(r"-----BEGIN (?P<kind>[A-Z ]+)-----\n.*?\n-----END (?P=kind)-----", re.DOTALL)


class Ed25519Signer:
    """``ports.signing.Signer``. ``repr`` shows the key's id alone."""

    def __init__(self, private: Ed25519PrivateKey, *, demo: bool = False) -> None:
        self._private, self.demo = private, demo
        self.key = key_id(private.public_key())

    @classmethod
    def make(cls, *, demo: bool = False, seed: bytes | None = None) -> Self:
        """A new key; from ``seed`` (32 bytes) always the same one, which is for tests."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        made = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
        return cls(made, demo=demo)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)

    def private_pem(self) -> str:
        """The private half, unencrypted (PKCS #8)."""
        from cryptography.hazmat.primitives import serialization as s

        text = self._private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
        return f"{MARK}\n{text}" if self.demo else text

    def trusted(self) -> TrustedKey:
        """The public half."""
        return TrustedKey(self.key, self._private.public_key(), self.demo)

    def __repr__(self) -> str:
        return f"Ed25519Signer({short(self.key)})"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key."""

    id: str
    public: Ed25519PublicKey
    demo: bool = False

    def pem(self) -> str:
        """As it stands in the file of trusted keys."""
        from cryptography.hazmat.primitives import serialization as s

        text = self.public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode()
        return f"{MARK}\n{text}" if self.demo else text


class TrustedKeys:
    """``ports.signing.Trust``."""

    def __init__(self, *keys: TrustedKey) -> None:
        self.all = {one.id: one for one in keys}

    @property
    def keys(self) -> tuple[str, ...]:
        """Ids, sorted."""
        return tuple(sorted(self.all))

    def signer_of(self, message: bytes, signature: bytes, hint: str = "") -> str | None:
        """See ``ports.signing.Trust``."""
        from cryptography.exceptions import InvalidSignature

        hinted = self.all.get(hint)
        for one in (hinted,) if hinted is not None else self.all.values():
            try:
                one.public.verify(signature, message)
            except InvalidSignature:
                continue
            return one.id
        return None


NOBODY = TrustedKeys()
"""Trusts no key: what a gateway does that was told nothing."""


def key_id(public: Ed25519PublicKey) -> str:
    """``sha256:`` and the SHA-256 of ``openssl pkey -pubin -outform DER``."""
    from cryptography.hazmat.primitives import serialization as s

    der = public.public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(der).hexdigest()


def read_signer(settings: Settings) -> Ed25519Signer:
    """The key that this installation signs with.

    Raises:
        ConfigError: there is none, it is no Ed25519 key, or it is the demo's and the profile is production.
    """
    path = settings.signing_key_file
    signer = load_signer(path)
    _refuse_demo(signer.demo, settings.profile, SIGNING, path, _MAKE)
    return signer


def load_signer(path: Path) -> Ed25519Signer:
    """A private key of any profile. Raises ``ConfigError``."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _read(path, SIGNING, "the file of the private key that signs releases")
    blocks = list(_BLOCK.finditer(text))
    try:
        (block,) = blocks
        private = load_pem_private_key(block[0].encode(), password=None)
    except (ValueError, TypeError):  # also a key with a password, and several keys
        raise ConfigError(SIGNING, str(path), "one unencrypted PEM private key", hint=_MAKE) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(SIGNING, str(path), "an Ed25519 key", hint=_MAKE)
    return Ed25519Signer(private, demo=_marked(text, block.start()))


def read_trust(settings: Settings) -> TrustedKeys:
    """The keys whose signatures count here.

    Raises:
        ConfigError: there is no such file, it holds no key or something else than Ed25519 keys, or one of them is the
            demo's and the profile is production.
    """
    path = settings.trusted_keys_file
    trust = load_trust(path)
    for one in trust.all.values():
        hint = f"`modelyard keys distrust {short(one.id)}` removes it."
        _refuse_demo(one.demo, settings.profile, TRUSTED, path, hint)
    return trust


def load_trust(path: Path) -> TrustedKeys:
    """The public keys in a file, of any profile. Raises ``ConfigError``."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text, found = _read(path, TRUSTED, "the file of the public keys whose signatures count"), []
    for block in _BLOCK.finditer(text):
        try:
            public = load_pem_public_key(block[0].encode())
        except (ValueError, TypeError):
            public = None
        if not isinstance(public, Ed25519PublicKey):
            raise ConfigError(TRUSTED, str(path), "PEM blocks of Ed25519 public keys and nothing else", hint=_MAKE)
        found.append(TrustedKey(key_id(public), public, _marked(text, block.start())))
    if not found or text.count("-----BEGIN") != len(found):
        raise ConfigError(TRUSTED, str(path), "whole PEM blocks of public keys, at least one", hint=_MAKE)
    return TrustedKeys(*found)


def _marked(text: str, start: int) -> bool:
    """Whether the mark stands between the block before and this one."""
    return MARK in text[:start].rpartition("-----END ")[2]


def _refuse_demo(demo: bool, profile: Profile, setting: str, path: Path, hint: str) -> None:
    if demo and profile != "demo":
        accepted = "keys of your own: this one was made by the demo for itself, and the profile is production"
        raise ConfigError(setting, str(path), accepted, hint=hint)


def _read(path: Path, setting: str, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "absent" if isinstance(error, FileNotFoundError) else f"unreadable: {error}"
        raise ConfigError(setting, str(path), f"{what} ({reason})", hint=_MAKE) from None
