"""The prediction log: every answered request, and the outcomes that came later."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from modelyard.core.value import Finite, ModelName, Moment, Value
from modelyard.core.window import Window
from modelyard.ports.fleet import Trip

if TYPE_CHECKING:
    import pandas as pd


REPORTED = "feedback."
"""How the columns of named numbers begin: ``feedback.rating``."""


class VersionUse(Value):
    """What timed calls of one version spent, of ``size`` to ``2 * size - 1`` rows each (of 16 or more: 16):
    processor time of the calling thread, in seconds. Not every call is timed."""

    version: int
    size: int = Field(ge=1)
    calls: int = Field(ge=0)
    rows: int = Field(ge=0)
    cpu_s: Finite


class HourUse(Value):
    """What a process of a replica counted of one hour of event time.

    ``requests`` were answered, ``failed`` of them with an error that is not the client's (a status of 500 or more);
    ``rows`` are those of the others. ``memory_mb`` is the most that the whole process held, all its models together;
    None where the system does not say.
    """

    hour: Moment
    requests: int = Field(ge=0)
    failed: int = Field(ge=0)
    rows: int = Field(ge=0)
    memory_mb: Finite | None = None
    spent: tuple[VersionUse, ...] = ()


class ReplicaUse(Value):
    """One file of counts (``serving.usage``): a day, or what one process counted of it."""

    replica: str
    model: ModelName
    hours: tuple[HourUse, ...]


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

    def usage(self, model: str, window: Window) -> tuple[HourUse, ...]:
        """What replicas counted of the whole hours of the window, oldest first: one for each process that counted any,
        those that are gone included.

        Raises:
            IntegrityError: a file of counts cannot be read.
        """

    def newest(self, model: str) -> datetime | None:
        """The newest ``event_time`` in the log."""
