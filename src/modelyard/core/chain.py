"""A hash chain: entries of which none can be changed, removed, moved or added without its being seen.

Each entry's digest covers its number, the digest of the entry before it and its own text, so that the digest of the
last entry, the *head*, stands for the whole history (Haber and Stornetta 1991, "How to time-stamp a digital document",
Journal of Cryptology 3). Whoever may rewrite the whole store can make a new chain that agrees with itself; heads that
were noted elsewhere, the *anchors*, tell it from the old one, and tell a tail that was cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from modelyard.core.digest import digest_bytes

GENESIS = "sha256:" + "0" * 64
"""What the first entry follows."""
MOST_FAULTS = 100
"""So many faults are told; a chain that is broken once is often broken from there on."""


class Head(NamedTuple):
    """Where a chain ended at some time: the number of its last entry, from 1, and that entry's digest.

    >>> Head.parse("0:" + GENESIS).seq
    0
    """

    seq: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read ``SEQ:sha256:HEX``, as ``str`` writes it. Raises ``ValueError``."""
        found = re.fullmatch(r"(\d+):(sha256:[0-9a-f]{64})", text)
        if found is None:
            raise ValueError(f"{text!r} is no head of a chain: SEQ:sha256:<64 hex digits>")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"


START = Head(seq=0, digest=GENESIS)
"""The head of a chain without entries."""


class Entry(NamedTuple):
    """One entry as it is stored. ``text`` is covered to the letter."""

    seq: int
    previous: str
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Audited:
    """What came of walking a chain: how far it goes, how far it is anchored, what is wrong with it."""

    entries: int
    head: Head
    anchored: int = 0
    """The highest number that an agreeing anchor names; later entries could be cut off unseen."""
    faults: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def digest_of(seq: int, previous: str, text: str) -> str:
    """The digest of an entry."""
    return digest_bytes(f"{seq}\n{previous}\n{text}".encode())


def follow(head: Head, text: str) -> Entry:
    """The entry that comes after this head.

    >>> first = follow(START, "one")
    >>> walk([first], first_head := Head(seq=1, digest=first.digest), {}).whole
    True
    """
    seq = head.seq + 1
    return Entry(seq, head.digest, digest_of(seq, head.digest, text), text)


def walk(entries: Iterable[Entry], head: Head, anchors: Mapping[int, str]) -> Audited:
    """Check every entry, in the order stored, against the one before it, the recorded head and the anchors.

    One pass in constant memory.

    Args:
        entries: all entries by number.
        head: the head that the store itself records.
        anchors: digests noted outside the store, by the number of the entry.
    """
    state = _Walk(anchors)
    faults: list[str] = []
    for entry in entries:
        if len(faults) < MOST_FAULTS:
            faults.extend(state.faults(entry))
        state.step(entry)
    faults.extend(state.closing(head))
    return Audited(entries=state.count, head=state.last, anchored=state.anchored, faults=tuple(faults[:MOST_FAULTS]))


class _Walk:
    """How far a walk has come."""

    def __init__(self, anchors: Mapping[int, str]) -> None:
        self._anchors = anchors
        self._seq, self._digest = 0, GENESIS
        self.count = self.anchored = 0

    @property
    def last(self) -> Head:
        return Head(seq=self._seq, digest=self._digest)

    def faults(self, entry: Entry) -> Iterator[str]:
        """What is wrong with this entry, given those before it."""
        expected = self._seq + 1
        if entry.seq > expected:
            missing = f"entry {expected}" if entry.seq == expected + 1 else f"entries {expected} to {entry.seq - 1}"
            yield f"{missing} missing: removed"
        elif entry.seq < expected:
            yield f"entry {entry.seq} comes after entry {self._seq}: inserted or moved"
        if entry.previous != self._digest and entry.seq == expected:
            yield f"entry {entry.seq} does not follow the entry before it: one of them was replaced"
        if digest_of(entry.seq, entry.previous, entry.text) != entry.digest:
            yield f"entry {entry.seq} was changed: it does not have its digest"
        if self._anchors.get(entry.seq, entry.digest) != entry.digest:
            yield f"entry {entry.seq} is not the one that was anchored: the log was rewritten"

    def step(self, entry: Entry) -> None:
        self.count += 1
        self._seq, self._digest = max(self._seq, entry.seq), entry.digest
        if self._anchors.get(entry.seq) == entry.digest:
            self.anchored = max(self.anchored, entry.seq)

    def closing(self, head: Head) -> Iterator[str]:
        """What is wrong with the end."""
        if (head.seq, head.digest) != (self._seq, self._digest):
            yield f"the log ends at entry {self._seq}, its head is entry {head.seq}: the tail was cut off or replaced"
        beyond = max(self._anchors, default=0)
        if beyond > self._seq:
            yield f"the log ends at entry {self._seq}, entry {beyond} was anchored: the tail was cut off"
