"""The plain case of a request by key: one row, without any of the features that the online store has.

As ``typed``, with the entity fields in the place of what the views hold. What it takes, ``online`` and ``encoding``
would take too, with the same values (tests hold the two together); what it does not take is left to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.features.online import Scalar
from modelyard.release.signature import Input, Signature
from modelyard.serving.encoding import LARGEST
from modelyard.serving.typed import TEXT, WHOLE, Values, field_of, typed_rows


class KeyedRows:
    """Reads requests of one row by key for one signature. Use ``keyed_rows``, which knows when that is possible."""

    def __init__(self, signature: Signature) -> None:
        inputs = (*signature.numeric, *signature.categorical)
        self.fields = entity_fields(signature)
        """By view the field of the request that holds its entity."""
        names = [item.name for item in inputs] + [signature.key]
        more = [name for name in dict.fromkeys(self.fields.values()) if name not in names]
        fields: list[tuple[Any, ...]] = [
            (f"f{n}", *(field_of(item) if item.source == "request" else (UnsetType, UNSET)))
            for n, item in enumerate(inputs)
        ]
        fields += [("key", TEXT | WHOLE), *((f"e{n}", str | WHOLE) for n in range(len(more)))]
        rename = {made: name for (made, *_), name in zip(fields, [*names, *more], strict=True)}
        row = msgspec.defstruct("Row", fields, rename=rename, kw_only=True, gc=False)
        request = msgspec.defstruct(
            "Request",
            [("rows", tuple[row]), ("event_time", datetime | None, None)],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
            gc=False,
        )
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(request).decode
        """The request: ``rows`` of one row and ``event_time``; raises one of ``typed.NOT_PLAIN``."""
        places = {name: place for place, name in enumerate([*names, *more])}
        self._entities = [(field, places[field]) for field in dict.fromkeys(self.fields.values())]
        self._views = [(n, item, *_bounds(item)) for n, item in enumerate(inputs) if item.source != "request"]
        self._names, self._end = names, len(names)

    def entities(self, row: Values) -> dict[str, str | int] | None:
        """The entity fields of a row that was read and made a tuple; None where one is null."""
        found = {field: row[place] for field, place in self._entities}
        return None if None in found.values() else found

    def filled(self, row: Values, stored: Mapping[str, Scalar]) -> Values | None:
        """The row as ``typed`` takes it, with what the store has; None where the signature does not accept that."""
        cells = list(row[: self._end])
        for place, item, low, high in self._views:
            value = cells[place] = stored[item.name]
            if value is None:
                if not item.nullable:
                    return None
            elif item.kind == "numeric" and not (isinstance(value, float) and low <= value <= high):
                return None
        return tuple(cells)

    def as_row(self, row: Values, stored: Mapping[str, Scalar]) -> dict[str, Any]:
        """The same as ``encoding`` takes it."""
        return {name: value for name, value in zip(self._names, row, strict=False) if value is not UNSET} | dict(stored)


def keyed_rows(signature: Signature) -> KeyedRows | None:
    """The decoder of a signature's requests by key; None where it reads no view, or where an entity's field is no plain
    name, or a number or view feature itself."""
    fields, typed = set(entity_fields(signature).values()), typed_rows(signature)
    taken = {i.name for i in signature.inputs if i.kind == "numeric" or i.source != "request"}
    if not fields or typed is None or fields & taken or not all(map(str.isidentifier, fields)):
        return None
    return KeyedRows(signature)


def entity_fields(signature: Signature) -> dict[str, str]:
    """By view that the signature reads, the field of a request that holds its entity."""
    read = dict.fromkeys(item.source for item in signature.inputs if item.source != "request")
    return {view: field for view in read for field in signature.entities[view].values()}


def _bounds(item: Input) -> tuple[float, float]:
    return -LARGEST if item.low is None else item.low, LARGEST if item.high is None else item.high
