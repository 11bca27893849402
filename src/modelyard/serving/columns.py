"""Arrow columns from plain buffers.

``pyarrow.array`` imports pandas on its first call when pandas is installed: 60 MB and half a second that a gateway has
no use for. Columns are therefore built from their buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    encoded = [b"" if value is None else value.encode() for value in values]
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(e) for e in encoded], out=offsets[1:])
    present = np.packbits(np.array([value is not None for value in values], dtype=bool), bitorder="little")
    buffers = [pa.py_buffer(present), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _plain(kind: Any, values: NDArray[Any]) -> Any:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
