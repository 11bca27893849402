"""The split of traffic: sticky, nested, the same on every replica and for ever.

A key falls into one of 10,000 buckets; the challenger answers the buckets below its weight. Raising the weight only
moves keys from the champion to the challenger, never back and forth. The salt is the release's, so that it is not the
same keys that always come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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


class Split:
    """The split of one salt and weight, for many keys at a third of what ``to_challenger`` costs for each.

    The part of the digest that is common to all keys is computed once, and the digest itself is compared with the
    least one that is beyond the share: ``bucket < weight`` exactly where ``digest < weight * 2^64 / 10,000``.
    """

    def __init__(self, salt: str, weight: int) -> None:
        self._salted = blake2b(salt.encode() + b"\0", digest_size=_BITS // 8)
        beyond = -((-weight << _BITS) // BUCKETS)
        # Bytes of one length compare as numbers do; the whole range ends at a number that is a byte too long.
        self._beyond = beyond.to_bytes(_BITS // 8, "big") if weight < BUCKETS else b"\xff" * (_BITS // 8 + 1)

    def theirs(self, keys: Sequence[str]) -> list[int]:
        """Places of the keys that the challenger answers.

        >>> Split("sha256:00", 6000).theirs(["UA1545", "UA1546"]), Split("sha256:01", 6000).theirs(["UA1545"])
        ([0, 1], [])
        """
        copy, beyond, places = self._salted.copy, self._beyond, []
        for place, key in enumerate(keys):
            digest = copy()
            digest.update(key.encode())
            if digest.digest() < beyond:
                places.append(place)
        return places


split = lru_cache(maxsize=256)(Split)
"""A ``Split``, made once."""
