"""The platform that a command works on."""

from __future__ import annotations

from modelyard.config.settings import Settings
from modelyard.runtime.environment import use_env
from modelyard.wiring import ConnectedPlatform, connect


def settings() -> Settings:
    """The environment's settings; what they leave open is the embedded platform's, where there is one."""
    use_env()
    return Settings.from_env()


def platform() -> ConnectedPlatform:
    """The ports on these settings."""
    return connect(settings())
