"""What a person asks of the embedded platform: up, down, status, clean. The CLI only adds words and colours."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard.config.settings import Settings
from modelyard.core.errors import Conflict
from modelyard.runtime import orphans, preflight
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.environment import write_env
from modelyard.runtime.health import complaint
from modelyard.runtime.postgres import binaries, init_cluster
from modelyard.runtime.release_keys import ensure_keys
from modelyard.runtime.secrets import load_or_make_secrets, read_secrets
from modelyard.runtime.spec import ProcessSpec, processes, services
from modelyard.runtime.start import Progress, Starter
from modelyard.runtime.supervise import ALIVE, Supervisor


@dataclass(frozen=True)
class ProcessReport:
    """One line of ``modelyard status``. ``problem`` is empty when the process is well."""

    name: str
    state: str
    pid: int
    address: str
    problem: str


@dataclass(frozen=True)
class Running:
    """What a person needs to know of a running platform."""

    airflow_url: str
    mlflow_url: str
    gateway_urls: tuple[str, ...]
    airflow_passwords: dict[str, str]
    env_file: Path


def _silent(_name: str, _what: str) -> None:
    pass


def up(settings: Settings, on_progress: Progress = _silent, only: tuple[str, ...] | None = None) -> Running:
    """Start the platform, or whatever of it does not run, and return when everything is well.

    ``only`` restricts it to these processes and what they depend on.

    Raises:
        ModelyardError: says what is wrong and what to do; what was running before still runs.
    """
    preflight.check_python()
    preflight.check_disk(settings.home)
    binaries()
    with _alone(settings.home):
        config = RuntimeConfig.embedded(settings, load_or_make_secrets(settings.home))
        ensure_keys(settings)
        specs = _chosen(processes(config), only)
        supervisor = Supervisor(config)
        states = supervisor.states()
        running = {name for name, state in (states or {}).items() if state.state in ALIVE}
        preflight.check_ports(specs, config.home, running)
        if states is None or supervisor.outdated():
            supervisor.shutdown()  # also what a killed supervisor left behind
            preflight.check_ports(specs, config.home, ())
            if init_cluster(config.cluster, config.secrets["postgres-admin"]):
                shutil.rmtree(config.run / "done", ignore_errors=True)  # what was done to an earlier server
            write_env(config)
            supervisor.launch(os.environ)
        Starter(config, supervisor, on_progress).run(specs)
    return describe(config)


def describe(config: RuntimeConfig) -> Running:
    """Addresses and logins."""
    return Running(
        airflow_url=config.addresses.url("airflow"),
        mlflow_url=config.addresses.url("mlflow"),
        gateway_urls=config.addresses.gateway_urls,
        airflow_passwords=dict(config.secrets.airflow_passwords),
        env_file=write_env(config),
    )


def down(settings: Settings) -> int:
    """Stop everything; returns how many processes there were. Nothing is lost, and ``up`` continues from there."""
    secrets = read_secrets(settings.home)
    if secrets is None:
        return orphans.stop_all(settings.home)
    with _alone(settings.home):
        before = len(orphans.find(settings.home))
        Supervisor(RuntimeConfig.embedded(settings, secrets)).shutdown()
    return before


def status(settings: Settings) -> list[ProcessReport]:
    """How each process is; reads only."""
    secrets = read_secrets(settings.home)
    if secrets is None:
        return []
    config = RuntimeConfig.embedded(settings, secrets)
    states = Supervisor(config).states() or {}
    reports = []
    for spec in services(config):
        state = states.get(spec.name)
        alive = state is not None and state.state == "RUNNING"
        problem = "" if alive else "does not run" if state is None else state.detail or "does not run"
        if alive and state is not None and spec.health is not None:
            problem = complaint(spec.health, since=state.started) or ""
        reports.append(
            ProcessReport(
                name=spec.name,
                state=state.state if state else "DOWN",
                pid=state.pid if state else 0,
                address=_address(config, spec),
                problem=problem,
            )
        )
    return reports


def clean(settings: Settings) -> None:
    """Stop everything and remove all state.

    Raises:
        Conflict: the home does not look like ours, so nothing is removed.
    """
    home = settings.home
    if not home.exists():
        return
    if read_secrets(home) is None and any(home.iterdir()):
        raise Conflict(f"{home} holds no secrets of ours: it may not be a home of Modelyard. Remove it by hand.")
    down(settings)
    shutil.rmtree(home)


def _address(config: RuntimeConfig, spec: ProcessSpec) -> str:
    return f"{config.addresses.bind}:{spec.ports[0]}" if spec.ports else ""


def _chosen(specs: tuple[ProcessSpec, ...], only: tuple[str, ...] | None) -> tuple[ProcessSpec, ...]:
    if only is None:
        return specs
    by_name = {spec.name: spec for spec in specs}
    wanted: set[str] = set()
    todo = list(only)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += by_name[name].depends_on
    return tuple(spec for spec in specs if spec.name in wanted)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Only one ``up`` or ``down`` at a time; the system drops the lock of a killed one."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another `modelyard up` or `down` is at work in {home}; wait for its end.") from None
        yield
