"""The prediction log: every answered request, and the outcomes that came later."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from modelyard.core.window import Window
from modelyard.ports.fleet import Trip

if TYPE_CHECKING:
    import pandas as pd


REPORTED = "feedback."
"""How the columns of named numbers begin: ``feedback.rating``."""


class Predictions(Protocol):
    """Reads the log. Columns of ``joined``:

    ``request_id, key, event_time, served_at, variant`` (``champion`` | ``challenger``), ``version, score``,
    ``other_score`` (the other arm's score of the same row, when paired), ``latency_ms, rollout, replica`` (which
    answered), ``label`` (NaN while unknown), ``label_at``, one column per feature, as the model saw it, and one named
    ``feedback.<name>`` per number that was reported (NaN where it was not).
    """

    def joined(self, model: str, window: Window, as_of: datetime) -> pd.DataFrame:
        """Requests with ``event_time`` in the window, with the labels received for outcomes known by ``as_of``;
        each request once, however often its label came (the last one counts)."""

    def rollout(self, model: str, rollout: str) -> pd.DataFrame:
        """The same for all requests served under a rollout, with all labels received so far."""

    def request(self, model: str, request: str) -> pd.DataFrame:
        """The rows answered for one request, with labels as in ``rollout`` and the columns ``release`` (the digest that
        answered) and ``error``; none if the log has no such request. A request of several rows has ids ``ID.0``,
        ``ID.1``, ...: the request's id finds them all, a row's own id finds that row."""

    def trips(self, model: str, rollout: str) -> tuple[Trip, ...]:
        """What replicas have recorded of guardrails that tripped in a rollout, oldest first; also those that are gone.

        Raises:
            IntegrityError: a record cannot be read.
        """

    def newest(self, model: str) -> datetime | None:
        """The newest ``event_time`` in the log."""
