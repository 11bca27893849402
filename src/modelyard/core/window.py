"""Half-open windows of time, always in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import model_validator

from modelyard.core.value import Moment, Value


class Window(Value):
    """The half-open interval ``[start, end)``.

    >>> w = Window.parse("2013-01-15/2013-04-09")
    >>> w.days
    84.0
    >>> w.contains(w.start), w.contains(w.end)
    (True, False)
    """

    start: Moment
    end: Moment

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"a window needs start < end; got [{self.start}, {self.end})")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``START/END`` in ISO 8601; a time without a zone is UTC."""
        start, slash, end = text.partition("/")
        if not slash:
            raise ValueError(f"a window is written START/END, got {text!r}")
        return cls(start=parse_moment(start), end=parse_moment(end))

    @classmethod
    def last(cls, length: timedelta, before: datetime) -> Self:
        """The window of this length that ends at ``before``."""
        return cls(start=before - length, end=before)

    def contains(self, moment: datetime) -> bool:
        """Whether the moment lies in ``[start, end)``."""
        return self.start <= moment < self.end

    @property
    def days(self) -> float:
        """Length in days."""
        return (self.end - self.start) / timedelta(days=1)

    def split(self, step: timedelta) -> Iterator[Window]:
        """Consecutive windows of ``step``; the last may be shorter."""
        start = self.start
        while start < self.end:
            end = min(start + step, self.end)
            yield Window(start=start, end=end)
            start = end

    def __str__(self) -> str:
        return f"{_compact(self.start)}/{_compact(self.end)}"


def parse_moment(text: str) -> datetime:
    """Read ISO 8601; a time without a zone is UTC.

    >>> parse_moment("2013-01-01").isoformat()
    '2013-01-01T00:00:00+00:00'
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _compact(moment: datetime) -> str:
    midnight = moment.timetz().replace(tzinfo=None) == datetime.min.time()
    return moment.strftime("%Y-%m-%d" if midnight else "%Y-%m-%dT%H:%M:%SZ")
