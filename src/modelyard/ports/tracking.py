"""Experiment tracking and the model registry (MLflow). Aliases are projections of the ledger, never the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class Run(Protocol):
    """An open run."""

    @property
    def id(self) -> str: ...

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters (flattened with dots)."""

    def metrics(self, rows: Iterable[tuple[str, float, int]]) -> None:
        """Log (name, value, step) in one batch; non-finite values are refused."""

    def steps(self, name: str) -> frozenset[int]:
        """The steps at which a metric has been logged."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""

    def dataset(self, frame: pd.DataFrame, *, name: str, digest: str, source: str, context: str) -> None:
        """Record a dataset as input, with its version."""

    def figure(self, figure: object, path: str) -> None:
        """Keep a matplotlib figure as an artifact."""

    def folder(self, local: Path, path: str) -> None:
        """Keep a folder's files as artifacts under ``path``."""


class Tracking(Protocol):
    """What the platform asks of MLflow."""

    def start(self, experiment: str, name: str, tags: Mapping[str, str]) -> AbstractContextManager[Run]:
        """A new run; marked failed when the body raises."""

    def resume(self, run_id: str) -> AbstractContextManager[Run]:
        """Log more to an existing run."""

    def find_run(self, experiment: str, tag: str, value: str, *, finished: bool = True) -> str | None:
        """The newest finished run (or, with ``finished`` false, run in any state) with this tag, for retries."""

    def register(self, model: str, run_id: str, bundle: Path, tags: Mapping[str, str]) -> int:
        """Register the run's bundle as a new version of the model; the same run again gives the same version."""

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Point an alias at a version."""

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias, if it exists."""

    def aliases(self, model: str) -> dict[str, int]:
        """All aliases of a model."""

    def versions(self, model: str) -> dict[int, dict[str, str]]:
        """All registered versions with their tags; empty for a model that is not registered."""

    def tag_version(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""

    def run_url(self, run_id: str) -> str:
        """The address of the run's page."""
