"""The feature store (Feast): point-in-time frames for training, current values for serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from modelyard.config.project import Project

if TYPE_CHECKING:
    import pandas as pd


class Features(Protocol):
    """What the platform asks of a feature store."""

    def apply(self, project: Project) -> str:
        """Register entities, views and the feature service of a model; returns the service's schema digest."""

    def training_frame(self, project: Project, rows: pd.DataFrame) -> pd.DataFrame:
        """Point-in-time join of the model's views to the rows by entity and ``event_time``; same rows, same order.

        Raises:
            IntegrityError: rows out != rows in.
        """

    def write_offline(self, project: Project, view: str, rows: pd.DataFrame) -> None:
        """Replace the offline rows of a view (atomically)."""

    def materialize(self, project: Project, as_of: datetime) -> int:
        """Bring the online store to the newest values known at ``as_of``; returns the rows written."""

    def push(self, project: Project, tables: Mapping[str, pd.DataFrame]) -> int:
        """Stream newer rows of some views into the online store, all or none; returns how many."""

    def online(self, project: Project, entities: Sequence[Mapping[str, object]]) -> pd.DataFrame:
        """Current online values through the store's own SDK, one row per entity row (for parity tests)."""
