"""The folder of the second model, loaded as the platform loads it; its folder is off by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def project() -> Project:
    places = f"{ROOT / 'projects'}:{ROOT / 'projects' / 'optional'}"
    return load_project("test_priority", Settings.from_env({"MODELYARD_ROOT": str(ROOT), "MODELYARD_PROJECTS": places}))
