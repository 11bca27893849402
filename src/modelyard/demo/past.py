"""What happened, as traffic: a model's rows in the order in which they were asked about and became known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelyard.config.project import Project
from modelyard.core.window import Window
from modelyard.demo.gateway_client import Call

if TYPE_CHECKING:
    import pandas as pd

_MOST_OUTCOMES = 500


class Past:
    """A model's rows as traffic: by the hour in which they were asked about, and in which their outcome was known."""

    def __init__(self, project: Project, rows: pd.DataFrame) -> None:
        spec = project.spec
        source, label = spec.source, spec.label.column
        self._asked, self._known, self._key, self._label = source.event_time, source.known_at, source.key, label
        given = [source.key, *spec.entities.values(), *spec.of(source="request")]
        self._columns = list(dict.fromkeys(given))
        self._rows = rows.sort_values(source.event_time, kind="stable", ignore_index=True)
        self._outcomes = rows[rows[label].notna()].sort_values(source.known_at, kind="stable", ignore_index=True)
        self._paths = tuple(f"/v1/models/{project.name}/{kind}" for kind in ("predict", "feedback"))

    def requests(self, hour: Window) -> Iterator[Call]:
        """One request per row, in order."""
        rows = _between(self._rows, self._asked, hour)
        for moment, row in zip(rows[self._asked], rows[self._columns].to_dict("records"), strict=True):
            yield self._paths[0], {"rows": [_plain(row)], "event_time": moment.isoformat()}

    def feedback(self, hour: Window) -> Iterator[Call]:
        """The hour's outcomes, a few hundred in a request."""
        rows = _between(self._outcomes, self._known, hour)
        outcomes = [
            {"key": key, "label": float(label), "known_at": known.isoformat()}
            for key, label, known in zip(rows[self._key], rows[self._label], rows[self._known], strict=True)
        ]
        for start in range(0, len(outcomes), _MOST_OUTCOMES):
            yield self._paths[1], {"rows": outcomes[start : start + _MOST_OUTCOMES]}


def _between(rows: pd.DataFrame, column: str, window: Window) -> pd.DataFrame:
    import pandas as pd

    first, last = rows[column].searchsorted([pd.Timestamp(window.start), pd.Timestamp(window.end)])
    return rows.iloc[first:last]


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """JSON has no NaN: a missing value is null."""
    return {str(key): None if value != value else value for key, value in row.items()}
