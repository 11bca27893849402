"""DSSE, the signed envelope of in-toto and SLSA (github.com/secure-systems-lab/dsse, version 1.0.0). Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.core.digest import canonical_json, short
from modelyard.core.errors import Untrusted
from modelyard.ports.signing import Signer, Trust

_URL_SAFE = str.maketrans("-_", "+/")


class Signature(BaseModel):
    """One signature, base64; ``keyid`` is a hint that nothing relies on."""

    model_config = ConfigDict(frozen=True)

    keyid: str = ""
    sig: str


class Envelope(BaseModel):
    """Bytes with their type and signatures. Keys that the specification does not know are ignored, as it asks."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    payload: str
    payload_type: str = Field(alias="payloadType")
    signatures: tuple[Signature, ...]

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the JSON form. Raises ``Untrusted`` for what is none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) or "the whole" for e in error.errors()[:5])
            raise Untrusted(f"it is no DSSE envelope ({fields})") from None

    def to_json(self) -> str:
        """The JSON form, canonical."""
        return canonical_json(self.model_dump(mode="json", by_alias=True)).decode()


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding, which binds the bytes to their type.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, signer: Signer) -> Envelope:
    """The payload, signed."""
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=payload_type,
        signatures=(_signature(payload_type, payload, signer),),
    )


def countersign(envelope: Envelope, signer: Signer) -> Envelope:
    """The same payload with this key's signature besides the others; unchanged where it is among them already.

    Whoever signs answers for the payload: look at it first.
    """
    made = _signature(envelope.payload_type, _bytes(envelope.payload, "payload"), signer)
    if made in envelope.signatures:  # Ed25519 signs the same bytes alike; the key's id alone shows nothing
        return envelope
    return envelope.model_copy(update={"signatures": (*envelope.signatures, made)})


def opened(envelope: Envelope, payload_type: str, trust: Trust) -> tuple[bytes, str]:
    """The payload, and the trusted key that signed it: one of the signatures must be a trusted key's.

    Raises:
        Untrusted: no trusted key has signed these bytes as this type.
    """
    payload = _bytes(envelope.payload, "payload")
    message = pae(envelope.payload_type, payload)
    for one in envelope.signatures:
        if (key := trust.signer_of(message, _bytes(one.sig, "signature"), one.keyid)) is not None:
            break
    else:
        raise Untrusted(_why(envelope, trust))
    if envelope.payload_type != payload_type:
        raise Untrusted(f"what was signed is {envelope.payload_type!r}, not {payload_type!r}")
    return payload, key


def _why(envelope: Envelope, trust: Trust) -> str:
    if not envelope.signatures:
        return "it carries no signature"
    named = [one.keyid for one in envelope.signatures]
    claimed = [key for key in named if key in trust.keys]
    if claimed:
        return f"the signature by key {short(claimed[0])} does not match: something was changed after it was signed"
    trusted = ", ".join(map(short, trust.keys)) or "none"
    by = ", ".join(short(key) or "an unnamed one" for key in named)
    return f"it is signed by key {by}, which is not trusted here (trusted: {trusted})"


def _signature(payload_type: str, payload: bytes, signer: Signer) -> Signature:
    made = base64.b64encode(signer.sign(pae(payload_type, payload))).decode()
    return Signature(keyid=signer.key, sig=made)


def _bytes(text: str, what: str) -> bytes:
    """Standard or URL-safe base64, as verifiers must take either."""
    try:
        return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except (binascii.Error, ValueError):
        raise Untrusted(f"its {what} is not base64") from None
