"""The ledger in PostgreSQL: ``ports.ledger.Ledger``."""

from __future__ import annotations

from sqlalchemy import Engine

from modelyard.adapters.db.data import PostgresReleases, PostgresSnapshots
from modelyard.adapters.db.journal import PostgresJournal
from modelyard.adapters.db.rollouts import PostgresRollouts
from modelyard.ports.ledger import Anchors


class PostgresLedger:
    """All parts on one engine, whose schema must be up to date (``engine.migrate``).

    ``anchors`` is where the audit log's head is noted besides.
    """

    def __init__(self, engine: Engine, anchors: Anchors | None = None) -> None:
        self.snapshots = PostgresSnapshots(engine)
        self.releases = PostgresReleases(engine)
        self.rollouts = PostgresRollouts(engine)
        self.journal = PostgresJournal(engine, anchors)
