"""The one process specification: what runs, in which order, and how one knows that it is well.

The supervisor starts these processes, the compose file starts the same (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modelyard.core.errors import ConfigError
from modelyard.runtime.config import TELEMETRY_OFF, RuntimeConfig
from modelyard.runtime.environment import (
    airflow_environment,
    environment,
    platform_environment,
    s3_environment,
    signing_environment,
)
from modelyard.runtime.secrets import DATABASES


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpCheck(_Frozen):
    """Well when the address answers 200 and, if ``status`` is given, the JSON value there is ``healthy``.

    ``beat`` names the moment of the last heartbeat: one from before the process started is a predecessor's.
    """

    url: str
    status: tuple[str, ...] = ()
    beat: tuple[str, ...] = ()


class CommandCheck(_Frozen):
    """Well when the command ends with 0."""

    command: tuple[str, ...]


class ProcessSpec(_Frozen):
    """One process. ``task`` runs once, to its end, before those that depend on it; a ``service`` is kept running.

    ``group`` says whether the stop signal goes to the whole process group: PostgreSQL gives signals to its children
    meanings of their own and must be left to stop them itself.
    """

    name: str
    kind: Literal["service", "task"] = "service"
    command: tuple[str, ...]
    env: dict[str, str] = Field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    health: HttpCheck | CommandCheck | None = None
    ports: tuple[int, ...] = ()
    stop_signal: Literal["TERM", "INT"] = "TERM"
    stop_wait: int = 20
    group: bool = True
    start_wait: int = 120
    port_setting: str = ""


GATEWAY = "gateway-{}"
WATCHDOG = "watchdog"


def processes(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    """Everything that runs, each after what it depends on."""
    specs = (
        _postgres(config),
        _databases(config),
        *_migrations(config),
        _mlflow(config),
        *_airflow(config),
        *_gateways(config),
        *(_watchdog(config) if config.kind == "embedded" else (_buckets(config), *_workers(config))),
    )
    return ordered(specs)


def services(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    """The processes that are kept running."""
    return tuple(spec for spec in processes(config) if spec.kind == "service")


def ordered(specs: Iterable[ProcessSpec]) -> tuple[ProcessSpec, ...]:
    """The specs, dependencies first, otherwise in the order given.

    Raises:
        ConfigError: a dependency does not exist, or they go round in a circle.
    """
    waiting = list(specs)
    names = [spec.name for spec in waiting]
    done: list[ProcessSpec] = []
    for spec in waiting:
        for need in spec.depends_on:
            if need not in names:
                raise ConfigError("depends_on", need, names, where=spec.name)
    while waiting:
        ready = {spec.name for spec in done}
        nexts = [spec for spec in waiting if ready.issuperset(spec.depends_on)]
        if not nexts:
            circle = ", ".join(spec.name for spec in waiting)
            raise ConfigError("depends_on", circle, "an order without a circle")
        done += nexts
        waiting = [spec for spec in waiting if spec not in nexts]
    return tuple(done)


def _postgres(config: RuntimeConfig) -> ProcessSpec:
    host, port = config.addresses.postgres
    # Airflow, MLflow, Feast, the gateways and 16 parallel tasks use some 40 connections at most.
    command: tuple[str, ...] = ("postgres", "-c", "max_connections=150", "-c", "shared_buffers=128MB")
    if config.kind == "embedded":
        command += ("-D", str(config.cluster), "-c", f"listen_addresses={host}", "-c", f"port={port}")
        command += ("-c", "unix_socket_directories=", "-c", "logging_collector=off")
    check = ("pg_isready", "-q", "-h", host, "-p", str(port), "-U", "postgres", "-d", "postgres")
    return ProcessSpec(
        name="postgres",
        command=command,
        health=CommandCheck(command=check),
        ports=(port,),
        port_setting="MODELYARD_PORT_POSTGRES",
        stop_signal="INT",  # fast shutdown: open transactions are rolled back, nothing is lost
        stop_wait=30,
        group=False,
        start_wait=60,
    )


def _databases(config: RuntimeConfig) -> ProcessSpec:
    passwords = {f"YARD_PASSWORD_{name.upper()}": config.secrets[f"postgres-{name}"] for name in DATABASES}
    return ProcessSpec(
        name="databases",
        kind="task",
        command=("python", "-m", "modelyard.runtime.databases"),
        env={"YARD_ADMIN_URL": config.admin_url, **passwords},
        depends_on=("postgres",),
        start_wait=60,
    )


def _migrations(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    airflow = ProcessSpec(
        name="airflow-migrate",
        kind="task",
        command=("airflow", "db", "migrate"),
        env={**airflow_environment(config), **TELEMETRY_OFF},
        depends_on=("databases",),
        start_wait=300,
    )
    pools = airflow.model_copy(
        update={
            "name": "airflow-pools",
            "command": ("airflow", "pools", "import", str(config.settings.root / "deploy" / "pools.json")),
            "depends_on": ("airflow-migrate",),
        }
    )
    ledger = ProcessSpec(
        name="ledger-migrate",
        kind="task",
        command=("modelyard", "db", "migrate"),
        env=platform_environment(config),
        depends_on=("databases",),
    )
    return airflow, pools, ledger


def _mlflow(config: RuntimeConfig) -> ProcessSpec:
    _, port = config.addresses.mlflow
    hosts = ("localhost", "127.0.0.1", config.addresses.mlflow[0])
    allowed = ",".join(dict.fromkeys(f"{host}:{port}" for host in hosts))
    destination = "s3://mlflow" if config.kind == "containers" else str(config.home / "mlflow")
    command: tuple[str, ...] = (
        "mlflow",
        "server",
        "--host",
        config.addresses.bind,
        "--port",
        str(port),
        "--workers",
        "1",
    )
    command += ("--serve-artifacts", "--artifacts-destination", destination, "--allowed-hosts", allowed)
    return ProcessSpec(
        name="mlflow",
        command=command,
        env={
            "MLFLOW_BACKEND_STORE_URI": config.database_url("mlflow"),
            **(s3_environment(config) if config.kind == "containers" else {}),
            # The queue of background jobs costs 8 processes and half a GiB, and nothing here uses it.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **TELEMETRY_OFF,
        },
        depends_on=("databases",) if config.kind == "embedded" else ("databases", "buckets"),
        health=HttpCheck(url=f"{config.addresses.url('mlflow')}/health"),
        ports=(port,),
        port_setting="MODELYARD_PORT_MLFLOW",
        start_wait=240,
    )


def _airflow(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    env = {**airflow_environment(config), **platform_environment(config), **signing_environment(config)}
    monitor = f"{config.addresses.url('airflow')}/api/v2/monitor/health"
    api = ProcessSpec(
        name="airflow-api-server",
        command=("airflow", "api-server"),
        env=env,
        depends_on=("airflow-migrate",),
        health=HttpCheck(url=monitor),
        ports=(config.addresses.airflow[1],),
        port_setting="MODELYARD_PORT_AIRFLOW",
        # Its server ends at once, but a thread of a library often keeps the process.
        stop_wait=5,
        start_wait=240,
    )

    def component(name: str, part: str, *, serves_logs: bool, needs: tuple[str, ...] = ()) -> ProcessSpec:
        # On one machine the API server reads the logs from disk; the log servers would listen on every interface.
        quiet = ("--skip-serve-logs",) if serves_logs and config.kind == "embedded" else ()
        check = HttpCheck(url=monitor, status=(part, "status"), beat=(part, f"latest_{part}_heartbeat"))
        return ProcessSpec(
            name=f"airflow-{name}",
            command=("airflow", name, *quiet),
            env=env,
            # Tasks that are due when the scheduler starts talk to the API server at once.
            depends_on=("airflow-api-server", *needs),
            health=check,
            stop_wait=30,
            start_wait=180,
        )

    scheduler = component("scheduler", "scheduler", serves_logs=True, needs=("airflow-pools", "ledger-migrate"))
    if config.kind == "embedded":  # its tasks are its own forks
        preloaded = ("python", "-m", "modelyard.preload", *scheduler.command)
        scheduler = scheduler.model_copy(update={"command": preloaded, "start_wait": 300})
    return (
        api,
        scheduler,
        component("dag-processor", "dag_processor", serves_logs=False),
        component("triggerer", "triggerer", serves_logs=True, needs=("ledger-migrate",)),
    )


def _gateways(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    made = []
    for number, (host, port) in enumerate(config.addresses.gateways, start=1):
        name = GATEWAY.format(number)
        command = ("python", "-m", "modelyard.serving", "--replica", name)
        made.append(
            ProcessSpec(
                name=name,
                command=(*command, "--host", config.addresses.bind, "--port", str(port)),
                env=platform_environment(config),
                depends_on=("ledger-migrate",),
                health=HttpCheck(url=f"http://{host}:{port}/healthz"),
                ports=(port,),
                port_setting="MODELYARD_PORT_GATEWAY",
                stop_wait=30,  # open requests are answered first
            )
        )
    return tuple(made)


def _buckets(config: RuntimeConfig) -> ProcessSpec:
    command = ("python", "-m", "modelyard.runtime.buckets", "mlflow", "modelyard")
    return ProcessSpec(name="buckets", kind="task", command=command, env=s3_environment(config))


def _workers(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    env = {**airflow_environment(config), **platform_environment(config), **signing_environment(config)}
    # A GPU does one training at a time.
    return tuple(
        ProcessSpec(
            name=f"airflow-worker-{queue}",
            command=("airflow", "celery", "worker", "--queues", queue, "--concurrency", str(slots)),
            env=env,
            depends_on=("airflow-api-server", "ledger-migrate"),
            stop_wait=120,
        )
        for queue, slots in (("default", 4), ("gpu", 1))
    )


def _watchdog(config: RuntimeConfig) -> tuple[ProcessSpec, ...]:
    # supervisord sees that a process died, not that it hangs. In containers the health checks do this.
    command = ("python", "-m", "modelyard.runtime.watch")
    return (ProcessSpec(name=WATCHDOG, command=command, env=environment(config), depends_on=("postgres",)),)
