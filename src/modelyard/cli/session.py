"""The platform that a command works on."""

from __future__ import annotations

import os

from modelyard.config.settings import Settings
from modelyard.wiring import ConnectedPlatform, connect


def settings() -> Settings:
    """The environment's settings; where they name no database, those of the embedded platform under ``var/``."""
    from modelyard.runtime.environment import load_env

    own = Settings.from_env()
    if own.database_url:
        return own
    embedded = load_env(own.home)
    for key, value in embedded.items():
        os.environ.setdefault(key, value)
    return Settings.from_env()


def platform() -> ConnectedPlatform:
    """The ports on these settings."""
    return connect(settings())
