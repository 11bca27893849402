"""Frames with one canonical form: the same rows have the same digest, whatever wrote or ordered them."""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.core.digest import canonical_json
from modelyard.core.errors import ConfigError, IntegrityError

_KINDS: dict[str, Any] = {"f": "float64", "i": "int64", "u": "int64", "b": "bool"}


def canonical(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Columns in order of name, rows in order of the key, each column of one of five types.

    Numbers become float64 or int64, flags bool, moments UTC with microseconds, everything else must be text (missing
    as None).

    Raises:
        IntegrityError: a key is missing or given twice.
        ConfigError: a column has no canonical type, or a moment has no time zone.
    """
    if key not in frame:
        raise ConfigError("key", key, [str(c) for c in frame.columns], where="frame")
    if frame[key].isna().any() or frame[key].duplicated().any():
        culprits = frame.loc[frame[key].isna() | frame[key].duplicated(), key].astype(str).head(3).tolist()
        raise IntegrityError(f"{key} must name each row once; missing or repeated: {', '.join(culprits)}")
    ordered = frame.sort_values(key, kind="stable", ignore_index=True)
    return pd.DataFrame({name: _canonical_column(ordered[name]) for name in sorted(map(str, frame.columns))})


def _canonical_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        moments: pd.Series = column.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
        return moments
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in _KINDS:
        converted: pd.Series = column.astype(_KINDS[dtype.kind])
        return converted
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        raise ConfigError(str(column.name), str(dtype), "moments with a time zone; naive times are refused")
    if pd.api.types.is_extension_array_dtype(dtype) and pd.api.types.is_numeric_dtype(dtype):
        return column.astype("float64")
    text = column.astype(object)
    missing = text.isna()
    if not text[~missing].map(lambda value: isinstance(value, str)).all():
        raise ConfigError(str(column.name), str(dtype), "numbers, flags, text or moments with a time zone")
    return text.where(~missing, None)


def content_digest(frame: pd.DataFrame, *, name: str = "") -> str:
    """The digest of a canonical frame: of names, types and values, not of any file's bytes.

    NaNs are one value, and so are 0.0 and -0.0. ``name`` keeps equal rows of different models apart.
    """
    sha = hashlib.sha256(canonical_json({"name": name, "rows": len(frame)}))
    for column in frame.columns:
        sha.update(canonical_json([str(column), str(frame[column].dtype)]))
        for part in _column_bytes(frame[column]):
            sha.update(struct.pack("<Q", len(part)))
            sha.update(part)
    return "sha256:" + sha.hexdigest()


def _column_bytes(column: pd.Series) -> Iterable[bytes]:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return [column.dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype("<i8").tobytes()]
    if column.dtype == object:
        missing = column.isna().to_numpy()
        text = ["" if gone else value for value, gone in zip(column, missing, strict=True)]
        lengths = np.fromiter((len(value.encode()) for value in text), dtype="<i8", count=len(text))
        return [missing.tobytes(), lengths.tobytes(), "".join(text).encode()]
    values = column.to_numpy()
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.float64("nan"), values + 0.0)
    return [values.astype(values.dtype.newbyteorder("<")).tobytes()]


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a file that readers see whole or not at all, also after a crash."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    _write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))


def write_text(text: str, path: Path) -> None:
    """The same for text."""
    _write_whole(path, lambda file: file.write(text.encode()))


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_parquet(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a file of ``write_parquet``."""
    frame: pd.DataFrame = pq.read_table(path, columns=columns, partitioning=None).to_pandas()
    return frame
