"""A real ledger, and platforms on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fixtures.platforms import FakePlatform, write_project
from fixtures.rollout_drive import NOW
from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger

Make = Callable[[str], FakePlatform]


@pytest.fixture(scope="module")
def ledger(ledger_engine: Engine) -> PostgresLedger:
    return PostgresLedger(ledger_engine)


@pytest.fixture
def make(tmp_path: Path, ledger: PostgresLedger) -> Make:
    """Makes a platform for a model of this name."""

    def one(model: str) -> FakePlatform:
        platform = FakePlatform(write_project(tmp_path, model), ledger)
        platform.predictions.now = NOW + timedelta(days=1)
        return platform

    return one
