"""What the benchmarks have in common with the tests: edges, databases, platforms and trials are made as there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from fixtures.bundles import ROW, graph
from fixtures.database import running_server
from fixtures.edges import Edge, edge_before
from fixtures.exposure import requests_met
from fixtures.keys import KEY as TESTS_KEY
from fixtures.platforms import FakePlatform, MemoryPredictions, release_for, write_project

__all__ = [
    "ROW",
    "TESTS_KEY",
    "Edge",
    "FakePlatform",
    "MemoryPredictions",
    "edge_before",
    "graph",
    "release_for",
    "requests_met",
    "running_server",
    "write_project",
]
