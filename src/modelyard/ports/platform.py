"""All ports together: what a flow is given."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from modelyard.config.settings import Settings
from modelyard.ports.datasets import Datasets, Validator
from modelyard.ports.features import Features
from modelyard.ports.fleet import Edge, Fleet
from modelyard.ports.ledger import Ledger
from modelyard.ports.predictions import Predictions
from modelyard.ports.profiler import Profiler
from modelyard.ports.reports import Reports
from modelyard.ports.signing import Signer, Trust
from modelyard.ports.tracking import Tracking


class Platform(Protocol):
    """The ports, connected on first use."""

    @property
    def settings(self) -> Settings: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def datasets(self) -> Datasets: ...

    @property
    def validator(self) -> Validator: ...

    @property
    def features(self) -> Features: ...

    @property
    def tracking(self) -> Tracking: ...

    @property
    def fleet(self) -> Fleet: ...

    @property
    def edge(self) -> Edge | None: ...

    @property
    def predictions(self) -> Predictions: ...

    @property
    def profiler(self) -> Profiler: ...

    @property
    def reports(self) -> Reports: ...

    @property
    def signer(self) -> Signer: ...

    @property
    def trust(self) -> Trust: ...

    def as_of(self, model: str, wall: datetime) -> datetime:
        """The event time in force at this wall time (see ``core.clock``)."""
