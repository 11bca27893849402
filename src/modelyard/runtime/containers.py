"""The same processes in containers: addresses are names of services, secrets are files named like their variables.

``python -m modelyard.runtime.containers FOLDER`` makes the files that docker-compose.yaml wants.
"""

from __future__ import annotations

import sys
from pathlib import Path

from modelyard.config.settings import Settings
from modelyard.runtime.config import Addresses, RuntimeConfig
from modelyard.runtime.environment import SECRET_NAMES
from modelyard.runtime.release_keys import key_files
from modelyard.runtime.secrets import Secrets, load_or_make_secrets, write_private
from modelyard.runtime.spec import processes

ROOT = Path("/opt/modelyard")
HOME = Path("/var/lib/modelyard")
REPLICAS = 2
IMAGE = "modelyard:${MODELYARD_TAG:-dev}"
"""As the compose file names it; compose fills in the tag."""
MORE_SECRETS = ("redis-password", "s3-user", "s3-password")
FILES = ("postgres-admin", "gateway-admin-token", *MORE_SECRETS)
"""Secrets that programs read from files themselves."""


def containers_config(secrets: Secrets) -> RuntimeConfig:
    """The configuration that docker-compose.yaml is written for."""
    env = {
        "MODELYARD_ROOT": str(ROOT),
        "MODELYARD_HOME": str(HOME),
        "MODELYARD_POLICIES": str(ROOT / "policies"),
        "MODELYARD_FEATURE_REPO": str(ROOT / "feature_repo"),
        "MODELYARD_ARTIFACTS_URI": "s3://modelyard/releases",
        "MODELYARD_MLFLOW_PUBLIC_URL": "http://localhost:5000",
        "MODELYARD_EDGE_URL": "http://edge:8090",
        "MODELYARD_CONTAINER_IMAGE": IMAGE,
    }
    addresses = Addresses(
        bind="0.0.0.0",  # noqa: S104  a container's own network; the compose file publishes what is public
        postgres=("postgres", 5432),
        mlflow=("mlflow", 5000),
        airflow=("airflow-api-server", 8080),
        gateways=tuple((f"gateway-{n}", 8090) for n in range(1, REPLICAS + 1)),
    )
    return RuntimeConfig(Settings.from_env(env), addresses, secrets, kind="containers", python=Path("python"))


def write_secret_files(folder: Path) -> list[str]:
    """Make the secret files, or complete them; those that exist keep their values. Returns their names."""
    secrets = load_or_make_secrets(folder / "made", more=MORE_SECRETS)
    files = {name: secrets[name] for name in FILES} | key_files(folder)
    for spec in processes(containers_config(secrets)):
        files |= {key: value for key, value in spec.env.items() if key in SECRET_NAMES}
    for name, value in files.items():
        write_private(folder / name, value)
        # Containers read them as users of their own; on the host the folder keeps everybody else out.
        (folder / name).chmod(0o444)
    folder.chmod(0o700)
    return sorted(files)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    print(f"{len(write_secret_files(target))} secrets in {target}")
