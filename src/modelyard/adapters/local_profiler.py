"""The default engines: whole Parquet files by Arrow, windows of files and DuckDB tables by DuckDB."""

from __future__ import annotations

from pathlib import Path

from modelyard.adapters.duckdb_profiler import DuckDbProfiler
from modelyard.adapters.parquet_profiler import ParquetProfiler
from modelyard.core.profile import Profile
from modelyard.ports.profiler import Counted, Rows


class LocalProfiler:
    """``ports.profiler.Profiler`` that hands the rows to the engine that is quickest for them (docs/adr/0038)."""

    def __init__(self, database: Path | None = None) -> None:
        self._files, self._sql = ParquetProfiler(), DuckDbProfiler(database)

    def count(self, reference: Profile, rows: Rows) -> Counted:
        """Count the rows in the reference's bins."""
        whole_files = rows.files and rows.window is None
        return self._files.count(reference, rows) if whole_files else self._sql.count(reference, rows)
