"""The plain case of a request, decoded and validated in one call of C: one row, every value of the common type.

A typed decoder is built from a version's signature when that version goes live. What it takes, ``requests`` and
``encoding`` would take too, with the same tensors (a test holds the two together); what it does not take is not
refused here but left to them, for they can name the field, the value and what would be accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.release.encode import category
from modelyard.release.signature import UNKNOWN_CODE, Input, Signature
from modelyard.serving.encoding import LARGEST, Encoded

_EXACT = 2**53
TEXT = Annotated[str, Meta(min_length=1)]
WHOLE = Annotated[int, Meta(ge=-_EXACT, le=_EXACT)]
_PLAIN = frozenset({str, type(None)})
NOT_PLAIN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Values = tuple[Any, ...]
"""A row: its numbers, its categories, its key."""


class TypedRows:
    """Reads requests of one row for one signature. Use ``typed_rows``, which knows when that is possible."""

    def __init__(self, signature: Signature) -> None:
        numeric, categorical = signature.numeric, signature.categorical
        inputs = (*numeric, *categorical)
        rename = {f"f{place}": item.name for place, item in enumerate(inputs)} | {"key": signature.key}
        fields = [(f"f{place}", *field_of(item)) for place, item in enumerate(inputs)]
        # kw_only: a field that may be absent can then stand before one that may not.
        row = msgspec.defstruct("Row", [*fields, ("key", TEXT | WHOLE)], rename=rename, kw_only=True, gc=False)
        request = msgspec.defstruct(
            "Request",
            [("rows", tuple[row]), ("event_time", datetime | None, None)],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
            gc=False,
        )
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(request).decode
        """The request: ``rows`` of one row and ``event_time`` (a probe is not plain); raises one of ``NOT_PLAIN``."""
        self._numbers, self._end = len(numeric), len(inputs)
        self._scale = np.array([i.scale for i in numeric])
        self._offset = np.array([i.offset for i in numeric])
        self._converts = any(i.scale != 1.0 or i.offset != 0.0 for i in numeric)
        self._codes = [{text: code for code, text in enumerate(i.vocabulary, 1)}.get for i in categorical]

    def encode(self, rows: Sequence[Values]) -> tuple[Encoded, list[str]]:
        """Tensors and keys of rows that were read and made tuples by ``values``."""
        numbers, end = self._numbers, self._end
        matrix = np.array([row[:numbers] for row in rows], dtype=np.float64).reshape(len(rows), numbers)
        if self._converts:
            matrix = matrix * self._scale + self._offset
        texts = tuple([_texts(row[numbers:end]) for row in rows])
        codes = np.empty((len(rows), end - numbers), dtype=np.int64)
        for place, (code, column) in enumerate(zip(self._codes, zip(*texts, strict=True), strict=True)):
            codes[:, place] = [code(text, UNKNOWN_CODE) for text in column]
        return Encoded(matrix.astype(np.float32), codes, texts), self.keys(rows)

    def keys(self, rows: Sequence[Values]) -> list[str]:
        """The routing key of each row."""
        end = self._end
        return [str(row[end]) for row in rows]


values = msgspec.structs.astuple
"""A decoded row as a tuple."""


def typed_rows(signature: Signature) -> TypedRows | None:
    """The typed decoder of a signature; None where the key is an input as well, or has no plain name."""
    if not signature.key.isidentifier() or signature.key in {i.name for i in signature.inputs}:
        return None
    return TypedRows(signature)


def field_of(item: Input) -> tuple[Any, ...]:
    """Type, and null as the default where the row may go without. View features must be there: the store has them."""
    kind: Any = WHOLE | str
    if item.kind == "numeric":
        low, high = -LARGEST if item.low is None else item.low, LARGEST if item.high is None else item.high
        kind = Annotated[float, Meta(ge=low, le=high)]
    if not item.nullable:
        return (kind,)
    return (kind | None, None) if item.source == "request" else (kind | None,)


def _texts(line: Values) -> tuple[str | None, ...]:
    if _PLAIN.issuperset(map(type, line)):
        return line
    return tuple([None if value is None else category(value) for value in line])
