"""Addresses, folders and the profile: what the environment decides, and nothing that changes a model or a decision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from modelyard.config.errors import config_error
from modelyard.config.packaged import own_or_packaged
from modelyard.core.errors import ConfigError

PREFIX = "MODELYARD_"

Profile = Literal["demo", "production"]
Port = Annotated[int, Field(ge=1024, le=65_535)]


class Settings(BaseModel):
    """Read once, frozen. Each field is the environment variable ``MODELYARD_<FIELD>`` in capitals.

    ``root`` holds ``projects/``, ``policies/``, ``params.yaml`` and ``feature_repo/``; ``home`` holds all state. Where
    the root has no ``policies/`` or no ``feature_repo/``, the ones that come with the package hold. The ports are those
    of the embedded platform; replicas of the gateway take ``port_gateway`` and the ones after it. ``signing_key_file``
    holds the private key that signs releases, ``trusted_keys_file`` the public ones whose signatures count.
    ``container_image`` is the image that this process runs in, which releases name; empty: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    home: Path
    projects: tuple[Path, ...]
    policies: Path
    params: Path
    feature_repo: Path
    profile: Profile = "production"
    database_url: str = ""
    mlflow_uri: str = ""
    artifacts_uri: str = ""
    prediction_log: Path
    gateway_urls: tuple[str, ...] = ()
    edge_url: str = ""
    admin_token_file: Path | None = None
    signing_key_file: Path
    trusted_keys_file: Path
    container_image: str = ""
    airflow_url: str = ""
    mlflow_public_url: str = ""
    advisories_url: str = ""
    port_postgres: Port = 54329
    port_mlflow: Port = 5000
    port_airflow: Port = 8080
    port_gateway: Port = 8090
    gateway_replicas: Annotated[int, Field(ge=1, le=8)] = 2

    @field_validator("projects", mode="before")
    @classmethod
    def _path_list(cls, value: object) -> object:
        return tuple(Path(p) for p in value.split(os.pathsep) if p) if isinstance(value, str) else value

    @field_validator("gateway_urls", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        return tuple(u.strip() for u in value.split(",") if u.strip()) if isinstance(value, str) else value

    @field_validator("edge_url", "advisories_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("an address such as http://edge:8090")
        return value

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read ``MODELYARD_*``; an unknown name is an error.

        Raises:
            ConfigError: a variable is unknown or its value is not accepted.
        """
        env = os.environ if env is None else env
        given = {k.removeprefix(PREFIX).lower(): v for k, v in env.items() if k.startswith(PREFIX) and v != ""}
        root = Path(given.get("root", Path.cwd())).absolute()
        home = Path(given.get("home", root / "var")).absolute()
        defaults: dict[str, object] = {
            "projects": (root / "projects",),
            "policies": own_or_packaged(root, "policies"),
            "params": root / "params.yaml",
            "feature_repo": own_or_packaged(root, "feature_repo"),
            "artifacts_uri": (home / "releases").as_uri(),
            "prediction_log": home / "predictions",
            "signing_key_file": home / "secrets" / "release-signing-key",
            "trusted_keys_file": home / "trusted-keys.pem",
        }
        try:
            return cls.model_validate({**defaults, **given, "root": root, "home": home})
        except ValidationError as error:
            raise config_error(error, cls, where="environment", rename=lambda key: PREFIX + key.upper()) from None

    def require(self, field: str) -> str:
        """The value of a field that the action at hand needs.

        Raises:
            ConfigError: the field is empty.
        """
        value = str(getattr(self, field) or "")
        if not value:
            key = PREFIX + field.upper()
            hint = "`make run` sets it; for an installation of your own see docs/configuration.md."
            raise ConfigError(key, value, "a value", where="environment", hint=hint)
        return value
