"""A configuration of the embedded platform in a temporary home; nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.config.settings import Settings
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.secrets import load_or_make_secrets


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"MODELYARD_ROOT": str(tmp_path), "MODELYARD_HOME": str(tmp_path / "home")})


@pytest.fixture
def config(settings: Settings) -> RuntimeConfig:
    return RuntimeConfig.embedded(settings, load_or_make_secrets(settings.home))
