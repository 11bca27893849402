"""Keys: what signs, and whose signatures are believed. A key is named by the SHA-256 of its public half (DER)."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A private key, wherever it lies."""

    @property
    def key(self) -> str:
        """The key's id: ``sha256:<64 hex digits>``."""

    def sign(self, message: bytes) -> bytes:
        """The signature of these bytes."""


class Trust(Protocol):
    """Public keys, any one of which is enough."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The ids of the trusted keys, sorted."""

    def signer_of(self, message: bytes, signature: bytes, hint: str = "") -> str | None:
        """The id of the trusted key that made this signature; None: none of them did.

        ``hint`` is the id that the signature came with. It is not believed: it only says which key to try.
        """
