"""The only place where ports meet adapters. Each port is connected on first use, so a process loads what it uses."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from pathlib import Path

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.clock import event_time
from modelyard.core.errors import ConfigError
from modelyard.ports.datasets import Datasets, Validator
from modelyard.ports.features import Features
from modelyard.ports.fleet import Edge, Fleet
from modelyard.ports.ledger import Ledger
from modelyard.ports.predictions import Predictions
from modelyard.ports.profiler import Profiler
from modelyard.ports.reports import Reports
from modelyard.ports.signing import Signer, Trust
from modelyard.ports.tracking import Tracking


class ConnectedPlatform:
    """``ports.platform.Platform`` on the real components that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def ledger(self) -> Ledger:
        """PostgreSQL; the audit log's anchors in a file."""
        from modelyard.adapters.audit_anchors import FileAnchors
        from modelyard.adapters.db.engine import connect
        from modelyard.adapters.db.ledger import PostgresLedger

        anchors = FileAnchors(self.settings.home / "audit" / "anchors")
        return PostgresLedger(connect(self.settings.require("database_url")), anchors)

    @cached_property
    def datasets(self) -> Datasets:
        """DVC."""
        from modelyard.adapters.dvc_datasets import DvcDatasets

        def key(model: str) -> str:
            return load_project(model, self.settings).spec.source.key

        return DvcDatasets(self.settings.home / "data", keys=key)

    @cached_property
    def validator(self) -> Validator:
        """Great Expectations."""
        from modelyard.adapters.ge_validator import GreatExpectationsValidator

        return GreatExpectationsValidator(self.settings.home / "docs" / "validation")

    @cached_property
    def features(self) -> Features:
        """Feast."""
        from modelyard.adapters.feast_features import FeastFeatures

        return FeastFeatures(self.settings)

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow."""
        from modelyard.adapters.mlflow_tracking import MlflowTracking

        return MlflowTracking(self.settings.require("mlflow_uri"), public_url=self.settings.mlflow_public_url)

    @cached_property
    def fleet(self) -> Fleet:
        """The gateway's replicas, over HTTP."""
        from modelyard.adapters.gateway_fleet import GatewayFleet

        if not self.settings.gateway_urls:
            raise ConfigError("MODELYARD_GATEWAY_URLS", "", "the replicas' addresses, separated by commas")
        token_file = self.settings.require("admin_token_file")
        return GatewayFleet(self.settings.gateway_urls, token_file)

    @cached_property
    def edge(self) -> Edge | None:
        """The address in front of the replicas, over HTTP; None where the settings name none."""
        from modelyard.adapters.http_edge import HttpEdge

        if not self.settings.edge_url:
            return None
        return HttpEdge(self.settings.edge_url, self.settings.require("admin_token_file"))

    @cached_property
    def predictions(self) -> Predictions:
        """Parquet files, read by DuckDB."""
        from modelyard.adapters.prediction_log import ParquetPredictions

        return ParquetPredictions(self.settings.prediction_log)

    @cached_property
    def profiler(self) -> Profiler:
        """Arrow and DuckDB, on files."""
        from modelyard.adapters.local_profiler import LocalProfiler

        return LocalProfiler()

    @cached_property
    def reports(self) -> Reports:
        """Evidently."""
        from modelyard.adapters.evidently_report import EvidentlyReports

        return EvidentlyReports()

    @cached_property
    def signer(self) -> Signer:
        """The Ed25519 key in a file."""
        from modelyard.signing.keys import read_signer

        return read_signer(self.settings)

    @cached_property
    def trust(self) -> Trust:
        """The Ed25519 keys in a file."""
        from modelyard.signing.keys import read_trust

        return read_trust(self.settings)

    def as_of(self, model: str, wall: datetime) -> datetime:
        """The event time in force at this wall time."""
        return event_time(self.ledger.journal.ticks(model), wall)


def connect(settings: Settings | None = None) -> ConnectedPlatform:
    """The platform that these settings (by default the environment's) describe; nothing is contacted yet."""
    return ConnectedPlatform(settings or Settings.from_env())


def profiler_of(database: str) -> Profiler:
    """The engine that counts where this database is: ``postgresql://...``, or the path of a DuckDB file."""
    if database.startswith("postgresql"):
        from modelyard.adapters.postgres_profiler import PostgresProfiler

        return PostgresProfiler(database)
    from modelyard.adapters.local_profiler import LocalProfiler

    return LocalProfiler(Path(database))
