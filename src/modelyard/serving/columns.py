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
        present = pa.py_buffer(np.packbits(np.array([value is not None for value in values]), bitorder="little"))
        values = [value or "" for value in values]
    return _texts(cast(Sequence[str], values), present)


def repeated(values: Sequence[str], times: Sequence[int]) -> Any:
    """A column of texts, each so many times."""
    encoded = [value.encode() for value in values]
    lengths = np.repeat([len(e) for e in encoded], times)
    return _from_bytes(lengths, b"".join([e * n for e, n in zip(encoded, times, strict=True)]), None)


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


def _plain(kind: Any, values: NDArray[Any]) -> Any:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
