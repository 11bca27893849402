"""The versioned store of snapshots (DVC in production) and the validation that admits them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from modelyard.core.records import Snapshot
from modelyard.core.value import Moment, Value
from modelyard.core.verdict import Severity, Verdict
from modelyard.core.window import Window

if TYPE_CHECKING:
    import pandas as pd


class ValidationReport(Value):
    """What validating a snapshot came to: a verdict per expectation, and the document for people."""

    snapshot: str
    verdicts: tuple[Verdict, ...]
    document: str
    as_of: Moment


class Rule(Value):
    """One line of a data contract (``validation.contract``). ``id`` names it in verdicts and beside bad rows."""

    id: str
    type: str
    severity: Severity
    set_aside: bool = False
    arguments: dict[str, Any] = Field(default_factory=dict)

    @property
    def column(self) -> str:
        """The column that the rule is about; ``table`` where it is about none or about several."""
        return str(self.arguments.get("column") or self.arguments.get("column_A") or "table")


class Datasets(Protocol):
    """Content-addressed, immutable versions of a model's rows."""

    def put(self, model: str, window: Window, as_of: Moment, frame: pd.DataFrame) -> Snapshot:
        """Keep the rows as one version; the same rows again are the same version (whatever their order)."""

    def read(self, snapshot: Snapshot) -> pd.DataFrame:
        """The rows, in canonical order. Raises ``IntegrityError`` when they do not match the digest."""

    def path(self, snapshot: Snapshot) -> Path:
        """A local file with the rows."""


class Validator(Protocol):
    """Runs the rules of a contract over a snapshot."""

    def validate(
        self, snapshot: Snapshot, frame: pd.DataFrame, rules: Sequence[Rule], as_of: Moment, *, where: str = ""
    ) -> ValidationReport:
        """Evaluate all rules, each an expectation of Great Expectations; a verdict each, in their order.

        A rule that cannot be evaluated has outcome ``error``; one on a column without any value is ``inconclusive``.
        ``where`` names the rules' file in errors.
        """

    def document(self, model: str, content: str) -> Path:
        """Where the document about a model's snapshot (its digest) is kept; it may not have been made yet."""
