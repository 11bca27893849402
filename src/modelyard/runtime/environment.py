"""The environment of every process of an installation, and of a shell that talks to it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from modelyard.config.settings import PREFIX
from modelyard.core.errors import IntegrityError
from modelyard.runtime.config import TELEMETRY_OFF, RuntimeConfig
from modelyard.runtime.secrets import AIRFLOW_USERS, write_private

S3_URL = "http://s3:9000"
_OURS = ("AIRFLOW", "FEAST_", "MLFLOW_", PREFIX, "YARD_")
SECRET_NAMES = frozenset(
    {
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CELERY__BROKER_URL",
        "AIRFLOW__CELERY__RESULT_BACKEND",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "FEAST_POSTGRES_PASSWORD",
        "FEAST_REGISTRY_URL",
        "MLFLOW_BACKEND_STORE_URI",
        "MODELYARD_DATABASE_URL",
        "YARD_ADMIN_URL",
        "YARD_PASSWORD_AIRFLOW",
        "YARD_PASSWORD_FEAST",
        "YARD_PASSWORD_MLFLOW",
        "YARD_PASSWORD_MODELYARD",
    }
)
"""Variables whose values are secrets: containers get them from files."""


def platform_environment(config: RuntimeConfig) -> dict[str, str]:
    """What our own code needs: ``MODELYARD_*``, Feast's addresses, MLflow's, and no telemetry."""
    settings, addresses = config.settings, config.addresses
    host, port = addresses.postgres
    ours = {
        "ROOT": settings.root,
        "HOME": settings.home,
        "PROJECTS": os.pathsep.join(str(p) for p in settings.projects),
        "POLICIES": settings.policies,
        "PARAMS": settings.params,
        "FEATURE_REPO": settings.feature_repo,
        "PROFILE": settings.profile,
        "DATABASE_URL": config.database_url("modelyard"),
        "MLFLOW_URI": addresses.url("mlflow"),
        "MLFLOW_PUBLIC_URL": settings.mlflow_public_url or addresses.url("mlflow"),
        "AIRFLOW_URL": addresses.url("airflow"),
        "ARTIFACTS_URI": settings.artifacts_uri,
        "PREDICTION_LOG": settings.prediction_log,
        "GATEWAY_URLS": ",".join(addresses.gateway_urls),
        "EDGE_URL": settings.edge_url,
        "ADMIN_TOKEN_FILE": config.token_file,
        "TRUSTED_KEYS_FILE": config.trusted_keys_file,
        **({"ADVISORIES_URL": settings.advisories_url} if settings.advisories_url else {}),
        **({"CONTAINER_IMAGE": settings.container_image} if settings.container_image else {}),
    }
    return {
        **{PREFIX + key: str(value) for key, value in ours.items()},
        "FEAST_POSTGRES_HOST": host,
        "FEAST_POSTGRES_PORT": str(port),
        "FEAST_POSTGRES_DATABASE": "feast",
        "FEAST_POSTGRES_USER": "feast",
        "FEAST_POSTGRES_PASSWORD": config.secrets["postgres-feast"],
        "FEAST_REGISTRY_URL": config.database_url("feast"),
        "MLFLOW_TRACKING_URI": addresses.url("mlflow"),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        **(s3_environment(config) if config.kind == "containers" else {}),
        **TELEMETRY_OFF,
    }


def signing_environment(config: RuntimeConfig) -> dict[str, str]:
    """For those who decide and train: where the key is that signs. A gateway only verifies."""
    return {PREFIX + "SIGNING_KEY_FILE": str(config.signing_key_file)}


def s3_environment(config: RuntimeConfig) -> dict[str, str]:
    """Where the S3-compatible store is, for every client that follows AWS's conventions."""
    return {
        "AWS_ACCESS_KEY_ID": config.secrets["s3-user"],
        "AWS_SECRET_ACCESS_KEY": config.secrets["s3-password"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": S3_URL,
        "MLFLOW_S3_ENDPOINT_URL": S3_URL,
    }


def airflow_environment(config: RuntimeConfig) -> dict[str, str]:
    """How Airflow is configured: everything that differs from its defaults, and nothing in a file of its own."""
    url, root = config.addresses.url("airflow"), config.settings.root
    return {
        "AIRFLOW_HOME": str(config.home / "airflow"),
        # What people see in links; in containers the port is published on their machine.
        "AIRFLOW__API__BASE_URL": url if config.kind == "embedded" else "http://localhost:8080",
        "AIRFLOW__API__HOST": config.addresses.bind,
        "AIRFLOW__API__PORT": str(config.addresses.airflow[1]),
        "AIRFLOW__API__SECRET_KEY": config.secrets["airflow-secret-key"],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": config.secrets["airflow-jwt-secret"],
        "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": config.secrets["airflow-fernet-key"],
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(root / "plugins"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": config.database_url("airflow", "psycopg2"),
        # The main lever on the time between two chained tasks.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        **(_embedded_airflow(config) if config.kind == "embedded" else _celery_airflow(config)),
    }


def _embedded_airflow(config: RuntimeConfig) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # Tasks are coarse and import heavy libraries; a laptop with two cores gains nothing from more at a time.
        "AIRFLOW__CORE__PARALLELISM": "4",
        # Airflow 3.3 may notice the end of a task only at its next heartbeat: at the default of 5 s most tasks that
        # import much wait that long for nothing, and an answer given meanwhile can be lost.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(config.passwords_file),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{u}:{role}" for u, role in AIRFLOW_USERS.items()),
    }


def _celery_airflow(config: RuntimeConfig) -> dict[str, str]:
    return {
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{config.secrets['redis-password']}@redis:6379/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + config.database_url("airflow", "psycopg2"),
        # Longer than any task: Redis hands a task out again when its worker has not answered by then.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "43200",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__OPERATORS__DEFAULT_QUEUE": "default",
    }


def environment(config: RuntimeConfig) -> dict[str, str]:
    """What a shell, the tests or the demo need to talk to the embedded platform."""
    settings = config.settings
    ports = {
        "PORT_POSTGRES": settings.port_postgres,
        "PORT_MLFLOW": settings.port_mlflow,
        "PORT_AIRFLOW": settings.port_airflow,
        "PORT_GATEWAY": settings.port_gateway,
        "GATEWAY_REPLICAS": settings.gateway_replicas,
    }
    return {
        **platform_environment(config),
        **signing_environment(config),
        **airflow_environment(config),
        **{PREFIX + key: str(value) for key, value in ports.items()},
    }


def env_file(home: Path) -> Path:
    """The file that keeps the environment of the installation in ``home``."""
    return home / "env"


def write_env(config: RuntimeConfig) -> Path:
    """Write the environment for later shells (``set -a; . var/env``) and for ``load_env``."""
    lines = [f"{key}={shlex.quote(value)}" for key, value in sorted(environment(config).items())]
    path = env_file(config.home)
    write_private(path, "\n".join(lines) + "\n")
    return path


def load_env(home: Path) -> dict[str, str]:
    """The environment that ``write_env`` kept; empty where the platform has never been started.

    Raises:
        IntegrityError: the file was changed into something that is not ``KEY=VALUE`` lines.
    """
    path = env_file(home)
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for word in shlex.split(path.read_text(encoding="utf-8"), comments=True):
        key, separator, value = word.partition("=")
        if not separator or not key.replace("_", "").isalnum():
            raise IntegrityError(
                f"{path} has a line that is not KEY=VALUE: {word!r}. Remove the file and run `modelyard up`."
            )
        found[key] = value
    return found


def use_env(env: MutableMapping[str, str] = os.environ) -> Path:
    """Let this process talk to the embedded platform: fill in what is not set; what the person set is kept.

    The home is ``MODELYARD_HOME``, or ``var`` under ``MODELYARD_ROOT`` or the current folder. Returns the home.
    """
    root = Path(env.get(PREFIX + "ROOT") or Path.cwd()).absolute()
    home = Path(env.get(PREFIX + "HOME") or root / "var").absolute()
    for key, value in load_env(home).items():
        env.setdefault(key, value)
    return home


def clean_base(env: Mapping[str, str]) -> dict[str, str]:
    """A person's environment without anything that would steer our processes."""
    return {key: value for key, value in env.items() if not key.startswith(_OURS)}
