"""Arrow columns from plain buffers.

``pyarrow.array`` imports pandas on its first call when pandas is installed: 60 MB and half a second that a gateway has
no use for. Columns are therefore built from their buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def floats(values: NDArray[Any]) -> Any:
    """A column of 64-bit floats; NaN stays NaN."""
    return _plain(pa.float64(), np.ascontiguousarray(values, dtype=np.float64))


def integers(values: Sequence[int] | NDArray[Any]) -> Any:
    """A column of 64-bit integers."""
    return _plain(pa.int64(), np.ascontiguousarray(values, dtype=np.int64))


def moments(microseconds: Sequence[int] | NDArray[Any]) -> Any:
    """A column of moments in UTC."""
    return _plain(pa.timestamp("us", tz="UTC"), np.ascontiguousarray(microseconds, dtype=np.int64))


def texts(values: Sequence[str | None]) -> Any:
    """A column of texts; None is null."""
    present = None
    if None in values:
        present = _bits(np.array([value is not None for value in values]))
        values = [value or "" for value in values]
    return _texts(cast(Sequence[str], values), present)


def repeated(values: Sequence[str], times: Sequence[int]) -> Any:
    """A column of texts, each so many times; each different one is kept once."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return _coded(np.repeat(np.array([places[value] for value in values], dtype=np.int32), times), [*places], None)


def words(codes: NDArray[Any], vocabulary: Sequence[str], unknown: Sequence[str | None]) -> Any:
    """A column of texts given by places in a vocabulary, from 1; where the place is 0, the next one of ``unknown``.

    Each different text is kept once, and of the vocabulary only what occurs.
    """
    known = np.flatnonzero(np.bincount(codes)[1:]) + 1
    at = np.zeros(len(vocabulary) + 1, dtype=np.int32)
    at[known] = np.arange(len(known))
    places, present = at[codes], None
    others = {text: len(known) + n for n, text in enumerate(dict.fromkeys(t for t in unknown if t is not None))}
    if unknown:
        gaps = codes == 0
        places[gaps] = [others.get(cast(str, text), 0) for text in unknown]
        if None in unknown:
            there = ~gaps
            there[gaps] = [text is not None for text in unknown]
            present = _bits(there)
    return _coded(places, [*(vocabulary[code - 1] for code in known.tolist()), *others], present)


def _texts(values: Sequence[str], present: Any) -> Any:
    joined = "".join(values)
    if joined.isascii():  # then a text is as long in bytes as in characters
        return _from_bytes([*map(len, values)], joined.encode(), present)
    encoded = [value.encode() for value in values]
    return _from_bytes([*map(len, encoded)], b"".join(encoded), present)


def _from_bytes(lengths: Sequence[int] | NDArray[Any], joined: bytes, present: Any) -> Any:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.string(), len(lengths), [present, pa.py_buffer(offsets), pa.py_buffer(joined)])


def _coded(places: NDArray[np.int32], listed: Sequence[str], present: Any) -> Any:
    indices = pa.Array.from_buffers(pa.int32(), len(places), [present, pa.py_buffer(places)])
    return pa.DictionaryArray.from_arrays(indices, texts(listed), safe=False)


def _bits(there: NDArray[np.bool_]) -> Any:
    return pa.py_buffer(np.packbits(there, bitorder="little"))


def _plain(kind: Any, values: NDArray[Any]) -> Any:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
