"""Reads ``policies/*.yaml``: a default, overrides per profile and per model, one frozen validated value.

    default: {...}
    profiles: {demo: {...}}
    models: {flight_delay: {...}}

Mappings are merged key by key, everything else is replaced; the order is default, profile, model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from modelyard.config.errors import config_error
from modelyard.config.project import project_folders
from modelyard.config.settings import Settings
from modelyard.config.yaml_file import read_yaml
from modelyard.core.digest import digest_json
from modelyard.core.errors import ConfigError


class Policy(BaseModel):
    """Base of the policies: frozen, strict, named by the digest of what is in force after merging."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> str:
        """The digest that decisions cite."""
        return digest_json(self.model_dump(mode="json"))


P = TypeVar("P", bound=Policy)
_SECTIONS = ("default", "profiles", "models")


def load_policy(cls: type[P], kind: str, settings: Settings, model: str) -> P:
    """The policy ``<policies>/<kind>.yaml`` as it holds for this model and profile.

    Raises:
        ConfigError: an unknown section, model or profile; a key or value that the policy does not accept.
    """
    path, data = settings.policies / f"{kind}.yaml", policy_file(kind, settings)
    merged = data["default"]
    for section, name in (("profiles", settings.profile), ("models", model)):
        overrides = data[section].get(name) or {}
        if not isinstance(overrides, dict):
            raise ConfigError(f"{section}.{name}", overrides, "a mapping", where=str(path))
        merged = _merge(merged, overrides)
    try:
        return cls.model_validate(merged)
    except ValidationError as error:
        raise config_error(error, cls, where=str(path)) from None


def policy_file(kind: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """The sections of ``<policies>/<kind>.yaml``, absent ones empty. What the sections say is not checked here.

    Raises:
        ConfigError: what all models share is wrong: an unknown section, model or profile.
    """
    path = settings.policies / f"{kind}.yaml"
    data = read_yaml(path)
    for section, content in data.items():
        if section not in _SECTIONS:
            raise ConfigError(section, section, _SECTIONS, where=str(path))
        if not isinstance(content or {}, dict):
            raise ConfigError(section, content, "a mapping", where=str(path))
    for name in data.get("models") or {}:
        if name not in project_folders(settings):
            raise ConfigError(f"models.{name}", name, project_folders(settings), where=str(path))
    for name in data.get("profiles") or {}:
        if name not in ("demo", "production"):
            raise ConfigError(f"profiles.{name}", name, ("demo", "production"), where=str(path))
    return {section: data.get(section) or {} for section in _SECTIONS}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
