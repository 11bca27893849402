"""Where the parts of an installation are, whoever starts them: the supervisor here, or containers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from modelyard.config.settings import Settings
from modelyard.runtime.secrets import Secrets, passwords_file, secrets_folder


@dataclass(frozen=True)
class Addresses:
    """Hosts and ports as the parts see each other; ``bind`` is what servers listen on."""

    bind: str
    postgres: tuple[str, int]
    mlflow: tuple[str, int]
    airflow: tuple[str, int]
    gateways: tuple[tuple[str, int], ...]

    def url(self, part: Literal["mlflow", "airflow"]) -> str:
        """The part's HTTP address."""
        host, port = getattr(self, part)
        return f"http://{host}:{port}"

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """One address per replica of the gateway."""
        return tuple(f"http://{host}:{port}" for host, port in self.gateways)


@dataclass(frozen=True)
class RuntimeConfig:
    """Everything the process specification is made from."""

    settings: Settings
    addresses: Addresses
    secrets: Secrets
    kind: Literal["embedded", "containers"] = "embedded"
    python: Path = Path(sys.executable)

    @classmethod
    def embedded(cls, settings: Settings, secrets: Secrets) -> Self:
        """The embedded platform: everything on 127.0.0.1, ports from the settings."""
        host = "127.0.0.1"
        addresses = Addresses(
            bind=host,
            postgres=(host, settings.port_postgres),
            mlflow=(host, settings.port_mlflow),
            airflow=(host, settings.port_airflow),
            gateways=tuple((host, settings.port_gateway + n) for n in range(settings.gateway_replicas)),
        )
        return cls(settings, addresses, secrets)

    @property
    def home(self) -> Path:
        """The folder that holds all state."""
        return self.settings.home

    @property
    def run(self) -> Path:
        """The folder of sockets, process ids and rendered configuration."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.home / "logs"

    @property
    def cluster(self) -> Path:
        """The folder of PostgreSQL's files."""
        return self.home / "postgres"

    @property
    def token_file(self) -> Path:
        """The file with the token of the gateway's admin API."""
        place = secrets_folder(self.home) if self.kind == "embedded" else Path("/run/secrets")
        return place / "gateway-admin-token"

    @property
    def signing_key_file(self) -> Path:
        """The file with the private key that signs releases; gateways do not get it."""
        return self.settings.signing_key_file if self.kind == "embedded" else Path("/run/secrets/release-signing-key")

    @property
    def trusted_keys_file(self) -> Path:
        """The file with the public keys whose signatures count."""
        return self.settings.trusted_keys_file if self.kind == "embedded" else Path("/run/secrets/trusted-keys")

    @property
    def passwords_file(self) -> Path:
        """The file with the passwords of Airflow's users."""
        return passwords_file(self.home)

    def database_url(self, name: str, driver: str = "psycopg") -> str:
        """The address of one of our databases, with its own role."""
        host, port = self.addresses.postgres
        return f"postgresql+{driver}://{name}:{quote(self.secrets[f'postgres-{name}'], safe='')}@{host}:{port}/{name}"

    @property
    def admin_url(self) -> str:
        """The address of the maintenance database, as superuser."""
        host, port = self.addresses.postgres
        return f"postgresql://postgres:{quote(self.secrets['postgres-admin'], safe='')}@{host}:{port}/postgres"

    @cached_property
    def socket(self) -> Path:
        """The supervisor's UNIX socket; in a private temporary folder where its path would be too long."""
        path = self.run / "supervisor.sock"
        return path if len(os.fsencode(path)) < _LONGEST_SOCKET else _short_socket(self.home)


_LONGEST_SOCKET = 92
"""The kernel takes 107 bytes, and supervisord adds a dot and its process id while it binds."""


def _short_socket(home: Path) -> Path:
    import hashlib
    import tempfile

    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"modelyard-{os.getuid()}-{name}" / "supervisor.sock"


TELEMETRY_OFF: Mapping[str, str] = {
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""No part of the platform reports to its makers."""
