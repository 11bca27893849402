"""Profiles counted straight from Parquet files: the quickest way for whole files (docs/adr/0038).

Columns are read one by one and row group by row group, by several threads, and counted by ``drift.counts`` itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.adapters import sql_counts
from modelyard.adapters.parquet_files import by_schema
from modelyard.adapters.sql_counts import Kind
from modelyard.core.errors import ConfigError
from modelyard.core.profile import FeatureProfile, NumericBins, Profile
from modelyard.drift.counts import count_codes, count_numbers, number
from modelyard.ports.profiler import Counted, Rows, merge_counted

_GROUPS_AT_ONCE = 8  # row groups of one opening: what a file's mapping brought into memory goes when it is closed
_ROWS_AT_ONCE = 1_000_000  # greater row groups are read in pieces


class ParquetProfiler:
    """``ports.profiler.Profiler`` for whole files; a window is for ``DuckDbProfiler``."""

    def __init__(self, *, threads: int = 2) -> None:
        self._threads = threads

    def count(self, reference: Profile, rows: Rows) -> Counted:
        """Count the rows in the reference's bins."""
        if rows.window is not None:
            raise ConfigError("rows.window", str(rows.window), "none", hint="Windows are counted by DuckDbProfiler.")
        return merge_counted(*(self._count(reference, rows, schema, files) for schema, files in by_schema(rows)))

    def _count(self, reference: Profile, rows: Rows, schema: Any, files: tuple[str, ...]) -> Counted:
        import pyarrow.parquet as pq

        kinds = {field.name: _kind(field.type) for field in schema}
        here = [f for f in reference.features if f.name in kinds]
        totals = {f.name: np.zeros(len(f.counts), dtype=np.int64) for f in here}
        n = 0
        with ThreadPoolExecutor(self._threads) as pool:
            for file in files:
                metadata = pq.read_metadata(file)
                n += metadata.num_rows
                groups = range(metadata.num_row_groups)
                parts = [groups[i : i + _GROUPS_AT_ONCE] for i in range(0, len(groups), _GROUPS_AT_ONCE)]
                for found in pool.map(lambda part, f=file, m=metadata: _count_groups(f, m, part, here, kinds), parts):
                    for name, counts in found.items():
                        totals[name] += counts
        counts = {name: tuple(map(int, found)) for name, found in totals.items()}
        return sql_counts.counted(reference, kinds, counts, n, time=rows.time)


def _count_groups(
    file: str, metadata: Any, groups: range, features: list[FeatureProfile], kinds: Mapping[str, Kind]
) -> dict[str, Any]:
    import pyarrow.parquet as pq

    texts = [f.name for f in features if kinds[f.name] == "text"]
    totals = {f.name: np.zeros(len(f.counts), dtype=np.int64) for f in features}
    # Mapped, and without reading ahead: pages are decoded from where they lie, without a copy between.
    with pq.ParquetFile(file, metadata=metadata, memory_map=True, pre_buffer=False, read_dictionary=texts) as source:
        for group in groups:
            for feature in features:
                for column in _pieces(source, group, feature.name):
                    totals[feature.name] += _count_piece(feature, column, kinds[feature.name])
    return totals


def _pieces(source: Any, group: int, name: str) -> Iterator[Any]:
    """One column of one row group, as Arrow arrays."""
    if source.metadata.row_group(group).num_rows <= _ROWS_AT_ONCE:
        yield from source.read_row_group(group, columns=[name], use_threads=False).column(name).chunks
        return
    batches = source.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[name], use_threads=False)
    yield from (batch.column(name) for batch in batches)


def _count_piece(feature: FeatureProfile, column: Any, kind: Kind) -> tuple[int, ...]:
    if not isinstance(feature.bins, NumericBins):
        return count_codes(feature.bins, *_encoded(column, kind))
    if kind in ("integer", "single", "double"):
        return count_numbers(feature.bins, _array(column))
    codes, uniques = _encoded(column, kind)
    table = np.asarray([np.nan, *map(number, uniques)], dtype=np.float64)
    return count_numbers(feature.bins, table[codes + 1])


def _array(column: Any) -> NDArray[Any]:
    """Numbers as numpy sees them, not copied where there are no nulls; a null becomes NaN.

    By DLPack: Arrow's own ``to_numpy`` would import pandas first, for a quarter of a second.
    """
    import pyarrow as pa

    if column.null_count:
        column = column if pa.types.is_floating(column.type) else column.cast(pa.float64(), safe=False)
        column = column.fill_null(float("nan"))
    return np.from_dlpack(column)


def _encoded(column: Any, kind: Kind) -> tuple[Any, list[Any]]:
    """Codes into distinct values, -1 for a null."""
    import pyarrow as pa

    if kind in ("other", "null"):
        # No value of such a type is a number or a category: one stands for all.
        return np.where(np.asarray(column.is_valid()), 0, -1), [()]
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = _array(column.indices.fill_null(-1))
    # By way of numpy a 32-bit float stays one: its text is not that of the 64-bit float.
    values = column.dictionary
    return codes, list(_array(values)) if kind in ("single", "double") else values.to_pylist()


def _kind(kind: Any) -> Kind:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    tests: tuple[tuple[Any, Kind], ...] = (
        (pa.types.is_integer, "integer"),
        (pa.types.is_float32, "single"),
        (pa.types.is_floating, "double"),
        (pa.types.is_decimal, "decimal"),
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_string, "text"),
        (pa.types.is_large_string, "text"),
        (pa.types.is_string_view, "text"),
        (pa.types.is_null, "null"),
    )
    return next((name for test, name in tests if test(kind)), "other")
