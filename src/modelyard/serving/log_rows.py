"""What the prediction log keeps: answered rows and reported outcomes, and the columns of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from modelyard.release.signature import UNKNOWN_CODE
from modelyard.serving import columns
from modelyard.serving.encoding import Encoded
from modelyard.serving.journal import Segment

DAY_US = 86_400_000_000
Names = tuple[str, ...]
T = TypeVar("T", int, float)


@dataclass(slots=True, eq=False)
class Answered:
    """Rows that one version answered together. ``other`` is filled in when the other version has scored them."""

    model: str
    rollout: str
    release: str
    version: int
    variant: str
    generation: int
    request_ids: Sequence[str]
    keys: Sequence[str]
    event_us: int | list[int]  # one for all rows, or one for each; as the next two
    served_us: int | list[int]
    latency_ms: float | list[float]
    scores: NDArray[np.float64]
    encoded: Encoded
    names: tuple[Names, Names]
    error: str = ""
    other: NDArray[np.float64] | None = None
    segment: Segment | None = None  # of the journal, where that was written first
    words: tuple[tuple[str, ...], ...] = ()  # vocabularies of the categories' codes; empty where they are not known

    def by_day(self) -> Iterator[tuple[int, Answered]]:
        """The rows of each day of event time, as days since 1970."""
        moments = self.event_us if isinstance(self.event_us, list) else [self.event_us]
        if (day := min(moments) // DAY_US) == max(moments) // DAY_US:
            yield day, self
            return
        days = np.array(moments) // DAY_US
        for day in np.unique(days).tolist():
            yield day, self._take(np.flatnonzero(days == day).tolist())

    def _take(self, places: list[int]) -> Answered:
        n = len(self.keys)
        return replace(
            self,
            request_ids=[self.request_ids[i] for i in places],
            keys=[self.keys[i] for i in places],
            event_us=np.broadcast_to(self.event_us, n)[places].tolist(),
            served_us=np.broadcast_to(self.served_us, n)[places].tolist(),
            latency_ms=np.broadcast_to(self.latency_ms, n)[places].tolist(),
            scores=self.scores[places],
            encoded=self.encoded.take(places),
            other=None if self.other is None else self.other[places],
        )


@dataclass(slots=True, frozen=True)
class Label:
    """One outcome, by key or by request id."""

    model: str
    key: str | None
    request_id: str | None
    label: float
    known_us: int
    received_us: int


@dataclass(slots=True, frozen=True)
class Number:
    """One named number that was reported, by key or by request id."""

    model: str
    key: str | None
    request_id: str | None
    name: str
    value: float
    known_us: int
    received_us: int


def answered_columns(batch: Sequence[Answered], names: tuple[Names, Names]) -> dict[str, Any]:
    """The columns of ``ports.predictions``, with one column per feature, as the answering version saw it."""
    sizes = [len(a.keys) for a in batch]
    spread: Callable[[Callable[[Answered], str]], Any] = lambda get: columns.repeated([get(a) for a in batch], sizes)  # noqa: E731
    table = {
        "request_id": columns.texts([i for a in batch for i in a.request_ids]),
        "key": columns.texts([k for a in batch for k in a.keys]),
        "event_time": columns.moments(_each([a.event_us for a in batch], sizes)),
        "served_at": columns.moments(_each([a.served_us for a in batch], sizes)),
        "variant": spread(lambda a: a.variant),
        "version": columns.integers(_each([a.version for a in batch], sizes)),
        "release": spread(lambda a: a.release),
        "rollout": spread(lambda a: a.rollout),
        "generation": columns.integers(_each([a.generation for a in batch], sizes)),
        "score": columns.floats(np.concatenate([a.scores for a in batch])),
        "other_score": columns.floats(_others(batch, sizes)),
        "latency_ms": columns.floats(np.array(_each([a.latency_ms for a in batch], sizes))),
        "error": spread(lambda a: a.error),
    }
    numeric_names, categorical_names = names
    numeric = np.ascontiguousarray(np.concatenate([a.encoded.numeric for a in batch]).T, dtype=np.float64)
    table.update({name: columns.floats(line) for name, line in zip(numeric_names, numeric, strict=True)})
    table.update(zip(categorical_names, _categories(batch), strict=True))
    return table


def _categories(batch: Sequence[Answered]) -> Iterator[Any]:
    """The columns of categories as they were received. Codes tell of most, at a tenth of what the texts cost."""
    lines, vocabularies = [line for a in batch for line in a.encoded.texts], batch[0].words
    if not vocabularies or any(a.words is not vocabularies and a.words != vocabularies for a in batch):
        yield from map(columns.texts, zip(*lines, strict=True))
        return
    codes = np.concatenate([a.encoded.categorical for a in batch]).T
    for place, (column, vocabulary) in enumerate(zip(codes, vocabularies, strict=True)):
        unknown = np.flatnonzero(column == UNKNOWN_CODE).tolist()
        yield columns.words(column, vocabulary, [lines[row][place] for row in unknown])


def _each(values: Sequence[T | Sequence[T]], sizes: Sequence[int]) -> list[T]:
    """One value a row. (A list at the end costs less than an array for each part.)"""
    rows: list[T] = []
    for value, size in zip(values, sizes, strict=True):
        rows.extend(value if isinstance(value, list) else [cast(T, value)] * size)
    return rows


def _others(batch: Sequence[Answered], sizes: Sequence[int]) -> NDArray[np.float64]:
    others, start = np.full(sum(sizes), np.nan), 0
    for answered, size in zip(batch, sizes, strict=True):
        if answered.other is not None:
            others[start : start + size] = answered.other
        start += size
    return others


def label_columns(labels: Sequence[Label]) -> dict[str, Any]:
    """The columns of a feedback file."""
    return {
        "key": columns.texts([x.key for x in labels]),
        "request_id": columns.texts([x.request_id for x in labels]),
        "label": columns.floats(np.array([x.label for x in labels])),
        "known_at": columns.moments([x.known_us for x in labels]),
        "received_at": columns.moments([x.received_us for x in labels]),
    }


def number_columns(numbers: Sequence[Number]) -> dict[str, Any]:
    """The columns of a file of numbers."""
    return {
        "key": columns.texts([x.key for x in numbers]),
        "request_id": columns.texts([x.request_id for x in numbers]),
        "name": columns.texts([x.name for x in numbers]),
        "value": columns.floats(np.array([x.value for x in numbers])),
        "known_at": columns.moments([x.known_us for x in numbers]),
        "received_at": columns.moments([x.received_us for x in numbers]),
    }
