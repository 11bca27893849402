"""What commands print: tables for people, JSON for programs, and errors that say what to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelyard.core.errors import ConfigError, ModelyardError
from modelyard.core.window import parse_moment

WIDE = 180
"""Columns of a table that goes to a file or a pipe; rich would squeeze it into 80."""

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Model = Annotated[str, typer.Argument(help="Name of the model: its folder under projects/.")]


def emit_json(value: Any) -> None:
    """Print plain data as JSON, keys sorted."""
    sys.stdout.write(json.dumps(plain(value), indent=2, sort_keys=True, default=str) + "\n")


def plain(value: Any) -> Any:
    """Values of ``core`` as plain JSON data."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def emit_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print a table, or a sentence that says what to do when there is nothing in it."""
    if not rows:
        console.print(f"{title}: none. {empty}")
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # as it is: square brackets are no markup
    console.print(table)


def moment(text: str, option: str = "--as-of") -> datetime:
    """A moment that a person has given with this option.

    Raises:
        ConfigError: it is none.
    """
    try:
        return parse_moment(text)
    except ValueError:
        raise ConfigError(option, text, "a moment in ISO 8601, such as 2013-04-09 or 2013-04-09T12:00Z") from None


@contextmanager
def reported() -> Iterator[None]:
    """Print an error raised on purpose as its message and exit with 1; a bug keeps its traceback."""
    try:
        yield
    except ModelyardError as error:
        errors.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=not errors.is_terminal)
        raise typer.Exit(1) from None
