"""How people name a release: by digest or its beginning, by version, or by what it is to its model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from modelyard.core.errors import ConfigError

Alias = Literal["champion", "previous", "challenger"]
ALIASES: tuple[Alias, ...] = get_args(Alias)
SHORTEST = 6
ACCEPTED = (
    f"a digest or its first {SHORTEST} or more hex digits, MODEL@VERSION, or MODEL@champion, MODEL@previous, "
    "MODEL@challenger"
)
_DIGEST = re.compile(rf"(?:sha256:)?([0-9a-f]{{{SHORTEST},64}})")
_AT = re.compile(r"([a-z][a-z0-9_]{0,62})@(\w+)")


@dataclass(frozen=True, slots=True)
class ByDigest:
    """A digest, or how it begins (``sha256:`` and at least six hex digits)."""

    prefix: str


@dataclass(frozen=True, slots=True)
class ByVersion:
    """A version of a model."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class ByAlias:
    """What a release is to its model now."""

    model: str
    alias: Alias


def parse_name(text: str) -> ByDigest | ByVersion | ByAlias:
    """Read a release's name. Raises ``ConfigError`` for what is none.

    >>> parse_name("flight_delay@3")
    ByVersion(model='flight_delay', version=3)
    >>> parse_name("e3b0c44298fc")
    ByDigest(prefix='sha256:e3b0c44298fc')
    """
    if match := _DIGEST.fullmatch(text):
        return ByDigest(f"sha256:{match[1]}")
    if not (match := _AT.fullmatch(text)):
        raise ConfigError("release", text, ACCEPTED)
    model, what = match.groups()
    for alias in ALIASES:
        if what == alias:
            return ByAlias(model, alias)
    if re.fullmatch(r"[1-9][0-9]{0,8}", what):
        return ByVersion(model, int(what))
    raise ConfigError("release", text, (f"{model}@{alias}" for alias in ALIASES), hint=f"Or {model}@ and a version.")
