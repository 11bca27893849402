"""The split of traffic: sticky, nested, the same on every replica and for ever.

A key falls into one of 10,000 buckets; the challenger answers the buckets below its weight. Raising the weight only
moves keys from the champion to the challenger, never back and forth. The salt is the release's, so that it is not the
same keys that always come first.
"""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000
_BITS = 64


def bucket(salt: str, key: str) -> int:
    """The bucket of a key, 0 to 9,999.

    The first 64 bits of BLAKE2b keyed by nothing but the bytes ``salt NUL key`` (RFC 7693), multiplied down to the
    range: no dependence on Python's ``hash``, the platform or the version. The bias of the range is below 1e-15.

    >>> bucket("sha256:00", "UA1545"), bucket("sha256:01", "UA1545")
    (5322, 6882)
    """
    digest = blake2b(b"%b\0%b" % (salt.encode(), key.encode()), digest_size=8).digest()
    return int.from_bytes(digest, "big") * BUCKETS >> _BITS


def to_challenger(salt: str, key: str, weight: int) -> bool:
    """Whether the challenger answers this key when its share is ``weight`` basis points."""
    return bucket(salt, key) < weight
