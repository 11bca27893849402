"""What the profilers that speak SQL share: bins as numbers to compare with, and counts made of what comes back.

A value belongs to a bin by its rounding to 32 bits. SQL compares 64-bit floats, so each bound becomes the greatest
64-bit float that rounds to it or below; ``x <= bound`` then says the same, without rounding any row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from modelyard.core.errors import ConfigError, NotFound
from modelyard.core.profile import Bins, CategoricalBins, NumericBins, Profile
from modelyard.drift.counts import all_missing, category, counted_as, from_cumulative, places
from modelyard.ports.profiler import Counted, Rows

Kind = Literal["integer", "single", "double", "decimal", "boolean", "text", "null", "other"]
"""What a column holds, whatever its engine calls it. ``null``: nothing but nulls, of no type."""

NUMBERS = ("integer", "single", "double", "decimal", "boolean", "null")
CATEGORIES = (*NUMBERS, "text")

_GREATEST = np.float32(np.finfo(np.float32).max)
# Halfway from the greatest 32-bit float to the next power of two: from here on a number becomes an infinity.
_BEYOND = float(_GREATEST) + 2.0**103
_INTEGER = re.compile("-?[0-9]{1,37}")


def rounds_at_most(bound: float) -> float:
    """The greatest 64-bit float whose rounding to 32 bits is at most this 32-bit float.

    >>> np.float32(rounds_at_most(1.0)), np.float32(np.nextafter(rounds_at_most(1.0), 2)) > 1
    (np.float32(1.0), np.True_)
    """
    single = np.float32(bound)
    if np.isneginf(single):
        return -_BEYOND
    with np.errstate(over="ignore"):
        following = np.nextafter(single, np.float32(np.inf))
    middle = _BEYOND if np.isinf(following) else (float(single) + float(following)) / 2
    # A number in the middle rounds to the neighbour whose last bit is zero.
    even = int(single.view(np.uint32)) % 2 == 0
    return middle if even else float(np.nextafter(middle, -np.inf))


def limits(bins: NumericBins) -> list[float]:
    """The 64-bit floats for which an engine counts the values not above them; ``recovered`` reads the counts."""
    with np.errstate(over="ignore"):
        below = [float(np.nextafter(np.float32(a), np.float32(-np.inf))) for a in bins.atoms]
    bounds = [*bins.edges, *below, *bins.atoms]
    return [-_BEYOND, rounds_at_most(float(_GREATEST)), *map(rounds_at_most, bounds)]


def recovered(bins: NumericBins, n: int, missing: int, at_most: Sequence[int]) -> tuple[int, ...]:
    """Counts per bin from the counts at ``limits``; neither a null nor a NaN is at most anything."""
    low, upto, *rest = at_most
    edges, below, atoms = np.split(
        np.asarray(rest, dtype=np.int64), [len(bins.edges), len(bins.edges) + len(bins.atoms)]
    )
    return from_cumulative(bins, n=n, missing=missing, finite=upto - low, at_most=edges - low, equal=atoms - below)


def keys(bins: CategoricalBins, kind: Kind) -> dict[Any, int]:
    """The listed categories as values of a column of this kind, each with its bin.

    A column of numbers is not turned into text: engines write numbers differently. Each category that is the text of a
    number is turned into that number instead.
    """
    found = ((_key(name, kind), place) for name, place in places(bins).items())
    return {key: place for key, place in found if key is not None}


def _key(name: str, kind: Kind) -> Any:
    match kind:
        case "text":
            return name
        case "boolean":
            return {"True": True, "False": False}.get(name)
        case "integer":
            return int(name) if _INTEGER.fullmatch(name) and str(int(name)) == name else None
        case "single" | "double" | "decimal":
            return _float_key(name, kind)
        case _:
            return None


def _float_key(name: str, kind: Kind) -> float | None:
    try:
        value = float(name)
    except ValueError:
        return None
    with np.errstate(over="ignore"):
        same: Any = np.float32(value) if kind == "single" else value
    return float(same) if same == same and category(same) == name else None


def check_time(rows: Rows, types: Mapping[str, Any], moments: Sequence[Any]) -> None:
    """Refuse a column of event time that is not there, or that is no moment: without a time zone an engine would take
    the zone of its session for it.

    Raises:
        NotFound: there is no such column.
        ConfigError: its type is not one of ``moments``.
    """
    if rows.time and rows.time not in types:
        raise NotFound("column of event time", rows.time, known=types)
    if rows.window and types[rows.time] not in moments:
        accepted, hint = "a column of timestamps with a time zone", f"{rows.time} is of type {types[rows.time]}."
        raise ConfigError("rows.time", rows.time, accepted, hint=hint)


def kind_suits(bins: Bins, kind: Kind) -> bool:
    """Whether a column of this kind is what the bins were made for."""
    return kind in (NUMBERS if isinstance(bins, NumericBins) else CATEGORIES)


def counted(
    reference: Profile, kinds: Mapping[str, Kind], counts: Mapping[str, tuple[int, ...]], n: int, *, time: str = ""
) -> Counted:
    """Put together what an engine found; ``kinds`` are the columns of the rows, ``counts`` those that were counted."""
    return Counted(
        profile=counted_as(reference, (counts.get(f.name, all_missing(f.bins, n)) for f in reference.features), n),
        vanished=tuple(name for name in reference.names if name not in kinds),
        retyped=tuple(f.name for f in reference.features if f.name in kinds and not kind_suits(f.bins, kinds[f.name])),
        added=tuple(sorted(set(kinds) - set(reference.names) - {time})),
    )
