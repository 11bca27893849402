"""The versioned store of snapshots (DVC in production) and the validation that admits them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelyard.core.records import Snapshot
from modelyard.core.value import Moment, Value
from modelyard.core.verdict import Verdict
from modelyard.core.window import Window

if TYPE_CHECKING:
    import pandas as pd


class ValidationReport(Value):
    """What validating a snapshot came to: a verdict per expectation, and the document for people."""

    snapshot: str
    verdicts: tuple[Verdict, ...]
    document: str
    as_of: Moment


class Datasets(Protocol):
    """Content-addressed, immutable versions of a model's rows."""

    def put(self, model: str, window: Window, as_of: Moment, frame: pd.DataFrame) -> Snapshot:
        """Keep the rows as one version; the same rows again are the same version (whatever their order)."""

    def read(self, snapshot: Snapshot) -> pd.DataFrame:
        """The rows, in canonical order. Raises ``IntegrityError`` when they do not match the digest."""

    def path(self, snapshot: Snapshot) -> Path:
        """A local file with the rows."""


class Validator(Protocol):
    """Runs a reviewed suite of expectations over a snapshot."""

    def validate(self, snapshot: Snapshot, frame: pd.DataFrame, suite: Path, as_of: Moment) -> ValidationReport:
        """Evaluate all expectations; an expectation that cannot be evaluated has outcome ``error``."""

    def document(self, model: str, content: str) -> Path:
        """Where the document about a model's snapshot (its digest) is kept; it may not have been made yet."""
