"""Counting rows where they lie: in files, in DuckDB, in PostgreSQL, or on an engine of the reader's own."""

from __future__ import annotations

from typing import Protocol, Self

from pydantic import model_validator

from modelyard.core.profile import Profile, merge
from modelyard.core.value import Value
from modelyard.core.window import Window


class Rows(Value):
    """Which rows: Parquet ``files`` (local paths) or one ``table`` (``name`` or ``schema.name``), never both.

    With a ``window``, only rows whose column ``time`` (a timestamp with a time zone) lies in ``[start, end)``.
    """

    files: tuple[str, ...] = ()
    table: str = ""
    time: str = ""
    window: Window | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.files) == bool(self.table):
            raise ValueError("rows lie in files or in a table: give one of the two")
        if self.window is not None and not self.time:
            raise ValueError("a window needs the name of the column that holds the event time")
        return self


class Counted(Value):
    """What was counted, and how the rows' columns differ from the reference's.

    ``vanished``: features without a column (missing in every row). ``retyped``: features whose column is of a type that
    its kind does not have: a number in text, a category in dates (counted value by value, as the rules say). ``added``:
    columns that the reference does not know, the time column aside; they are not counted.
    """

    profile: Profile
    vanished: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


class Profiler(Protocol):
    """An engine that counts by the rules of ``drift.counts``: every one gives the same integers for the same rows.

    ``tests/contract/test_profiler.py`` holds the rules as a suite; a new engine joins its list.
    """

    def count(self, reference: Profile, rows: Rows) -> Counted:
        """Count the rows in the reference's bins. Rows are read once, and memory does not grow with their number.

        Raises:
            NotFound: a file, the table or the time column does not exist.
            ConfigError: this engine does not read such rows (a table of a profiler of files, say); the time column
                has no time zone.
            Unavailable: the engine does not answer.
        """


def merge_counted(first: Counted, *others: Counted) -> Counted:
    """What was counted of all the rows together. A column has vanished only if no part has it."""
    parts = (first, *others)
    gone = set.intersection(*(set(p.vanished) for p in parts))
    odd = {name for p in parts for name in p.retyped}
    return Counted(
        profile=merge(*(p.profile for p in parts)),
        vanished=tuple(name for name in first.profile.names if name in gone),
        retyped=tuple(name for name in first.profile.names if name in odd),
        added=tuple(sorted({name for p in parts for name in p.added})),
    )
