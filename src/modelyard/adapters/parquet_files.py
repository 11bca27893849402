"""Parquet files as profilers see them: that they exist, and which of them have the same columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard.core.errors import ConfigError, NotFound
from modelyard.ports.profiler import Rows


def by_schema(rows: Rows) -> list[tuple[Any, tuple[str, ...]]]:
    """The files of ``rows`` in groups of equal columns and types, each with its Arrow schema.

    Files of different types are counted apart: read as one table, their values would be changed into a common type.

    Raises:
        NotFound: a file does not exist.
        ConfigError: the rows lie in a table, or a file is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not rows.files:
        raise ConfigError("rows.table", rows.table, "Parquet files", hint="Ask the profiler of the table's database.")
    groups: dict[str, tuple[Any, list[str]]] = {}
    for file in rows.files:
        if not Path(file).is_file():
            raise NotFound("Parquet file", file)
        try:
            schema = pq.read_schema(file).remove_metadata()
        except pa.ArrowInvalid as error:
            raise ConfigError("rows.files", file, "a Parquet file", hint=str(error).partition("\n")[0]) from error
        groups.setdefault(schema.to_string(), (schema, []))[1].append(file)
    return [(schema, tuple(files)) for schema, files in groups.values()]
