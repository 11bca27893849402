"""The other tables that a contract's rules refer to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modelyard.core.errors import ConfigError


def file_values(folder: Path, table: str, key: str, views: Iterable[str]) -> set[Any]:
    """The values of a column of a CSV or Parquet file in the model's folder; ``views`` is what else it might have been.

    Raises:
        ConfigError: there is no such file there.
    """
    path = (folder / table).resolve()
    inside = path.is_relative_to(folder.resolve())
    if not inside or not path.is_file() or path.suffix not in (".csv", ".parquet"):
        accepted = [*views, "a CSV or Parquet file in the model's folder"]
        raise ConfigError("table", table, accepted, where=str(folder))
    return values_of(path, key)


def values_of(path: Path, key: str) -> set[Any]:
    """The values that a column of a file has."""
    import pandas as pd

    if path.suffix == ".parquet":
        column = pd.read_parquet(path, columns=[key])[key]
    else:
        # As text, as keys are: 007 is not 7, and NA is a country.
        column = pd.read_csv(path, usecols=[key], dtype=str, keep_default_na=False)[key]
    return set(pd.unique(column.dropna()).tolist())
