"""Counting rows in the bins of a reference: the rules that every engine keeps, and the plain form of them.

Rules, in the order in which they are asked:

* A null or a NaN is ``missing``, in a numeric and in a categorical feature.
* In a numeric feature: numbers and booleans are numbers, a text is one if it is written as ``NUMBER_PATTERN`` says
  (spaces around it do not matter); an infinity, a number beyond 32 bits, any other text and a value of any other type
  (a date, a list) are ``invalid``. A number is rounded to a 64-bit float and then to a 32-bit one; 0.0 equals -0.0.
* In a categorical feature: texts are compared code point by code point, booleans are ``True`` and ``False``, numbers
  are written as in ``category``. A value of any other type is in no reference: ``unseen``, or ``other`` where the
  reference's categories could not all be listed.
* A column that the rows do not have is ``missing`` in every row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.core.profile import CATEGORICAL_HEAD, MISSING, CategoricalBins, FeatureProfile, NumericBins, Profile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

NUMBER_PATTERN = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
"""A number written as text, in a form that Python, DuckDB and PostgreSQL read alike."""

_NUMBER = re.compile(NUMBER_PATTERN)
_CHUNK = 65_536  # 256 KiB of 32-bit floats: what is compared again and again stays in the processor's cache


def count(reference: Profile, frame: pd.DataFrame) -> Profile:
    """Count a window in the bins of a reference: one pass, nothing of the reference's size is touched."""
    counted = (
        count_column(f.bins, frame[f.name]) if f.name in frame.columns else all_missing(f.bins, len(frame))
        for f in reference.features
    )
    return counted_as(reference, counted, len(frame))


def counted_as(reference: Profile, counts: Iterable[tuple[int, ...]], n: int) -> Profile:
    """The reference's bins with these counts, feature by feature."""
    pairs = zip(reference.features, counts, strict=True)
    return Profile(n=n, features=tuple(FeatureProfile(name=f.name, bins=f.bins, counts=c) for f, c in pairs))


def all_missing(bins: NumericBins | CategoricalBins, n: int) -> tuple[int, ...]:
    """The counts of a column that is not there."""
    return (n, *(0 for _ in bins.labels[1:]))


def count_column(bins: NumericBins | CategoricalBins, column: pd.Series[Any]) -> tuple[int, ...]:
    """The counts of one pandas column, of whatever type."""
    if isinstance(bins, NumericBins):
        return count_numbers(bins, numbers(column))
    codes, uniques = factorised(column)
    return count_codes(bins, codes, uniques)


def count_numbers(bins: NumericBins, values: NDArray[Any]) -> tuple[int, ...]:
    """The counts of numbers; NaN is missing, an infinity is invalid.

    Nothing is sorted or searched: for each edge the values not above it are counted, with the processor's vector
    instructions, and the bins are differences of these counts.
    """
    edges, atoms = (np.asarray(x, dtype=np.float32) for x in (bins.edges, bins.atoms))
    at_most, equal = np.zeros(len(edges), dtype=np.int64), np.zeros(len(atoms), dtype=np.int64)
    missing = finite = 0
    for chunk, truth in _chunks(values):
        usable = _true(np.isfinite(chunk, out=truth))
        finite += usable
        if usable < chunk.size:
            missing += _true(np.isnan(chunk, out=truth))
            # These are below every edge, and in no interval.
            at_most -= _true(np.equal(chunk, -np.inf, out=truth))
        for place, edge in enumerate(edges):
            at_most[place] += _true(np.less_equal(chunk, edge, out=truth))
        for place, atom in enumerate(atoms):
            equal[place] += _true(np.equal(chunk, atom, out=truth))
    return from_cumulative(bins, n=len(values), missing=missing, finite=finite, at_most=at_most, equal=equal)


def from_cumulative(
    bins: NumericBins, *, n: int, missing: int, finite: int, at_most: Iterable[int], equal: Iterable[int]
) -> tuple[int, ...]:
    """Counts per bin from counts of finite values up to each edge (``at_most``) and at each atom (``equal``)."""
    at_atoms = [int(c) for c in equal]
    bounds = [0, *(int(c) for c in at_most), finite]
    intervals = np.diff(np.asarray(bounds, dtype=np.int64))
    # An atom has a bin of its own: it is taken out of the interval that it lies in.
    homes = np.searchsorted(np.asarray(bins.edges), np.asarray(bins.atoms), side="left")
    np.subtract.at(intervals, homes, np.asarray(at_atoms, dtype=np.int64))
    return (missing, n - missing - finite, *at_atoms, *map(int, intervals))


def count_codes(bins: CategoricalBins, codes: NDArray[Any], uniques: Iterable[object]) -> tuple[int, ...]:
    """The counts of a column that is given as ``codes`` into ``uniques``; the code -1 is a missing value."""
    table, otherwise = places(bins), unlisted(bins)
    lookup = [place_of(u, table, otherwise) for u in uniques]
    per_value = np.bincount(np.asarray(codes, dtype=np.intp) + 1, minlength=len(lookup) + 1)
    where = np.asarray([MISSING, *lookup], dtype=np.intp)
    found = np.zeros(len(bins.labels), dtype=np.int64)
    np.add.at(found, where, per_value)
    return tuple(map(int, found))


def places(bins: CategoricalBins) -> dict[str, int]:
    """The bin of every category that the bins list."""
    other = CATEGORICAL_HEAD.index("other")
    return dict.fromkeys(bins.known, other) | {c: i for i, c in enumerate(bins.frequent, len(CATEGORICAL_HEAD))}


def unlisted(bins: CategoricalBins) -> int:
    """The bin of every category that the bins do not list."""
    return CATEGORICAL_HEAD.index("unseen" if bins.complete else "other")


def place_of(value: object, table: Mapping[str, int], otherwise: int) -> int:
    """The bin of one value."""
    if value is None or value != value:
        return MISSING
    name = category(value)
    return otherwise if name is None else table.get(name, otherwise)


def category(value: object) -> str | None:
    """The text of a category; None for a value that is none (a date, a list).

    A whole float is written as the integer it was before a missing value came in.

    >>> category(3.0), category("UA"), category(0.1), category(True), category(b"UA")
    ('3', 'UA', '0.1', 'True', None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, np.timedelta64):  # numpy takes it for an integer
        return None
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else str(value)
    return None


def numbers(column: pd.Series[Any]) -> NDArray[Any]:
    """A column as floats: NaN where missing, infinite where invalid."""
    import pandas as pd

    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "fiub":
        return column.to_numpy()
    extension = not isinstance(kind, np.dtype | pd.CategoricalDtype)
    if extension and (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    codes, uniques = factorised(column)
    return np.asarray([np.nan, *map(number, uniques)], dtype=np.float64)[codes + 1]


def number(value: object) -> float:
    """One value of a column that is no column of numbers: infinite if it is no number.

    >>> number(" 1e3 "), number("1,5"), number("nan"), number(True)
    (1000.0, inf, inf, 1.0)
    """
    if isinstance(value, str):
        text = value.strip(" ")
        return float(text) if _NUMBER.fullmatch(text) else np.inf
    if category(value) is not None:
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return np.inf
    return np.inf


def factorised(column: pd.Series[Any]) -> tuple[NDArray[np.intp], list[object]]:
    """Codes into distinct values, -1 for missing. Values that are equal and of different types stay apart."""
    import pandas as pd

    # pandas takes 1, 1.0 and True for one value, which only a column of mixed objects can hold together.
    if column.dtype != object or pd.api.types.infer_dtype(column, skipna=True) == "string":
        codes, uniques = pd.factorize(column, use_na_sentinel=True)
        # Not list(uniques): it would make 64-bit floats, whose texts differ, of 32-bit ones.
        return codes, list(np.asarray(uniques))
    missing = column.isna().to_numpy(dtype=bool)
    seen: dict[tuple[type, object], int] = {}
    codes = np.full(len(column), -1, dtype=np.intp)
    for row, value in enumerate(column):
        if not missing[row]:
            # What is no category (a list cannot even be hashed) is no number either: one stands for all of its type.
            codes[row] = seen.setdefault((type(value), None if category(value) is None else value), len(seen))
    return codes, [kind if value is None else value for kind, value in seen]


def _chunks(values: NDArray[Any]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """The values as 32-bit floats, piece by piece, each with room for as many truth values.

    A number beyond 32 bits becomes an infinity. Both arrays are used again for the next piece.
    """
    singles, truths = np.empty(_CHUNK, dtype=np.float32), np.empty(_CHUNK, dtype=np.bool_)
    for start in range(0, len(values), _CHUNK):
        piece = values[start : start + _CHUNK]
        if piece.dtype.kind != "f":
            # By way of 64 bits: rounding twice is not rounding once.
            piece = piece.astype(np.float64)
        single = singles[: piece.size]
        with np.errstate(over="ignore"):
            np.copyto(single, piece, casting="same_kind")
        yield single, truths[: piece.size]


def _true(truths: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(truths))
