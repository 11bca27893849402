"""What the commands about releases work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.database import PostgresServer
from fixtures.release_world import World, release_world


@pytest.fixture
def world(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A ledger of the test's own with the model ``toy``."""
    with release_world(postgres_server.fresh("releases"), tmp_path, monkeypatch) as made:
        yield made
