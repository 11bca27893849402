"""Drawing reports for people (Evidently). A report decides nothing: the numbers in it are the platform's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class Reports(Protocol):
    """Draws documents for people."""

    def drift(
        self,
        path: Path,
        *,
        reference: pd.DataFrame,
        current: pd.DataFrame,
        numeric: Sequence[str],
        categorical: Sequence[str],
        psi: Mapping[str, float],
        title: str,
    ) -> Path:
        """Write an HTML page comparing two samples; ``psi`` holds the one PSI per feature that it shows."""
