"""From rows of JSON to the model's tensors, checked against the signature on the way.

The same encoding as ``release.encode`` for frames, in the shape that suits a few rows of JSON and reports the field
that is wrong; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.release.encode import category
from modelyard.release.signature import UNKNOWN_CODE, Input, Signature
from modelyard.serving.errors import Refusal, invalid

Row = Mapping[str, Any]

_NUMERIC_TYPES = frozenset({int, float, type(None)})
_TEXT_TYPES = frozenset({str, type(None)})
_CATEGORY_TYPES = frozenset({str, int, float, type(None)})
LARGEST = float(np.finfo(np.float32).max)
"""A number beyond it would be infinite to the model."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as the model sees them. ``texts`` are the categories as received, for the prediction log."""

    numeric: NDArray[np.float32]
    categorical: NDArray[np.int64]
    texts: tuple[tuple[str | None, ...], ...]

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, places: Sequence[int]) -> Encoded:
        """Some of the rows, in ascending order; such as stand beside each other are not copied."""
        if places and places[-1] - places[0] + 1 == len(places):
            rows = slice(places[0], places[-1] + 1)
            return Encoded(self.numeric[rows], self.categorical[rows], self.texts[rows])
        at = np.array(places, dtype=np.intp)
        return Encoded(self.numeric[at], self.categorical[at], tuple([self.texts[i] for i in places]))


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """Several batches as one; the texts are left out, for scoring needs none."""
    if len(parts) == 1:
        return parts[0]
    numeric = np.concatenate([p.numeric for p in parts])
    return Encoded(numeric, np.concatenate([p.categorical for p in parts]), ())


class Encoder:
    """Encodes rows for one signature. A field that is absent is the same as null."""

    def __init__(self, signature: Signature) -> None:
        self._numeric, self._categorical = signature.numeric, signature.categorical
        self.numeric_names = tuple(i.name for i in self._numeric)
        self.categorical_names = tuple(i.name for i in self._categorical)
        self.words = tuple(i.vocabulary for i in self._categorical)
        self._low = np.array([LARGEST * -1 if i.low is None else i.low for i in self._numeric])
        self._high = np.array([LARGEST if i.high is None else i.high for i in self._numeric])
        self._nullable = np.array([i.nullable for i in self._numeric], dtype=bool)
        self._scale = np.array([i.scale for i in self._numeric])
        self._offset = np.array([i.offset for i in self._numeric])
        self._converts = any(i.scale != 1.0 or i.offset != 0.0 for i in self._numeric)
        self._codes: list[dict[str | None, int]] = [
            {text: code for code, text in enumerate(i.vocabulary, 1)} for i in self._categorical
        ]
        self._not_nullable = [(place, i) for place, i in enumerate(self._categorical) if not i.nullable]

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """All rows as tensors.

        Raises:
            Refusal: a value has the wrong type, is out of bounds, or is missing though the signature needs it; the
                first such value is named.
        """
        numeric = self._encode_numeric(rows)
        texts = tuple([self._texts(row, place) for place, row in enumerate(rows)])
        codes = [
            [codes.get(text, UNKNOWN_CODE) for codes, text in zip(self._codes, line, strict=True)] for line in texts
        ]
        categorical = np.array(codes, dtype=np.int64).reshape(len(rows), len(self._codes))
        return Encoded(numeric, categorical, texts)

    def _encode_numeric(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        names = self.numeric_names
        raw = [[row.get(name) for name in names] for row in rows]
        for place, line in enumerate(raw):
            if not _NUMERIC_TYPES.issuperset(map(type, line)):
                raise _wrong_number(line, self._numeric, place)
        try:
            matrix = np.array(raw, dtype=np.float64).reshape(len(rows), len(names))
        except OverflowError:
            raise Refusal(422, "invalid_field", "a number is out of the range of a 64-bit float") from None
        # Comparisons with NaN (missing) are false, so a missing value passes by its own rule only.
        fine = (matrix >= self._low) & (matrix <= self._high) | (np.isnan(matrix) & self._nullable)
        if not fine.all():
            row, column = (int(x[0]) for x in np.nonzero(~fine))
            raise invalid(names[column], raw[row][column], _accepted(self._numeric[column]), row=row)
        if self._converts:
            matrix = matrix * self._scale + self._offset
        return matrix.astype(np.float32)

    def _texts(self, row: Row, place: int) -> tuple[str | None, ...]:
        line = [row.get(name) for name in self.categorical_names]
        if not _TEXT_TYPES.issuperset(map(type, line)):
            line = [self._text(value, spec, place) for value, spec in zip(line, self._categorical, strict=True)]
        for column, spec in self._not_nullable:
            if line[column] is None:
                raise invalid(spec.name, None, _accepted(spec), row=place)
        return tuple(line)

    def _text(self, value: object, spec: Input, place: int) -> str | None:
        if type(value) not in _CATEGORY_TYPES:
            raise invalid(spec.name, value, _accepted(spec), row=place)
        return None if value is None else category(value)


def _wrong_number(line: Sequence[object], specs: Sequence[Input], row: int) -> Refusal:
    wrong = next(i for i, value in enumerate(line) if type(value) not in _NUMERIC_TYPES)
    return invalid(specs[wrong].name, line[wrong], _accepted(specs[wrong]), row=row)


def _accepted(spec: Input) -> str:
    empty = " or null" if spec.nullable else ""
    if spec.kind == "categorical":
        return f"a text or a whole number{empty}"
    low = "" if spec.low is None else f" >= {spec.low:g}"
    high = "" if spec.high is None else f" <= {spec.high:g}"
    return f"a finite number{low}{' and' if low and high else ''}{high}{empty}"
