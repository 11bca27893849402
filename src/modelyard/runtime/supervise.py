"""Talks to supervisord, over its UNIX socket, which only its owner can open."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.core.errors import Unavailable
from modelyard.runtime import orphans
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.environment import clean_base
from modelyard.runtime.render import supervisord_conf
from modelyard.runtime.secrets import write_private
from modelyard.runtime.spec import services

ALIVE = ("RUNNING", "STARTING", "BACKOFF")


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor knows of one process."""

    name: str
    state: str
    pid: int
    started: datetime | None
    detail: str


class Supervisor:
    """The supervisor of one installation, running or not."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self.conf = config.run / "supervisord.conf"

    def states(self) -> dict[str, ProcessState] | None:
        """What runs, by name; None when the supervisor itself does not run."""
        try:
            found: Any = self._call("supervisor.getAllProcessInfo")
        except Unavailable:
            return None
        return {info["name"]: _state(info) for info in found}

    def start(self, name: str) -> None:
        """Start one process, without waiting; one that runs already is left alone."""
        self._call("supervisor.startProcess", name, False, accept=("ALREADY_STARTED",))

    def stop(self, name: str) -> None:
        """Stop one process and wait for its end."""
        self._call("supervisor.stopProcess", name, True, accept=("NOT_RUNNING",))

    def launch(self, env: Mapping[str, str], wait: float = 20.0) -> None:
        """Start the supervisor itself; none of its processes runs yet.

        Raises:
            Unavailable: it did not come up; the message has the end of its log.
        """
        config = self._config
        places = [orphans.workplace(config.home, spec.name) for spec in services(config)]
        for folder in (config.run, config.logs, *places):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _private_folder(config.socket.parent)
        config.socket.unlink(missing_ok=True)
        write_private(self.conf, self.rendered())
        command = [str(config.python), "-m", "supervisor.supervisord", "-c", str(self.conf)]
        clean = {**clean_base(env), **orphans.marks(config.home, "supervisor")}
        clean.setdefault("PATH", os.defpath)
        done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False, timeout=wait)
        deadline = time.monotonic() + wait
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.states() is not None:
                return
            time.sleep(0.05)
        raise Unavailable(
            f"supervisord did not start: {done.stderr.strip()[-500:]} {tail(config.logs / 'supervisord.log')}"
        )

    def rendered(self) -> str:
        """The configuration that belongs to the settings as they are now."""
        return supervisord_conf(self._config, services(self._config), root_user=os.geteuid() == 0)

    def outdated(self) -> bool:
        """Whether the configuration that was last started differs from what it should be now."""
        return not self.conf.is_file() or self.conf.read_text(encoding="utf-8") != self.rendered()

    def shutdown(self, wait: float = 60.0) -> None:
        """Stop all processes, clients before PostgreSQL, and the supervisor; leftovers of any kind too."""
        states = self.states()
        if states is not None:
            self._stop_clients(states)
            self._call("supervisor.shutdown", accept=("SHUTDOWN_STATE",))
            deadline = time.monotonic() + wait
            while time.monotonic() < deadline and self.states() is not None:
                time.sleep(0.05)
            self._await_exit(deadline)
        orphans.stop_all(self._config.home)

    def _stop_clients(self, states: Mapping[str, ProcessState]) -> None:
        """All but PostgreSQL, at the same time; the watchdog first, which would take it for a fault."""
        running = [name for name, state in states.items() if state.state in ALIVE]
        for name in sorted(running, key=lambda n: n != "watchdog"):
            if name != "postgres":
                self._call("supervisor.stopProcess", name, name == "watchdog", accept=("NOT_RUNNING",))
        deadline = time.monotonic() + max(spec.stop_wait for spec in services(self._config)) + 5
        while time.monotonic() < deadline:
            now = self.states() or {}
            if not any(s.state in (*ALIVE, "STOPPING") for n, s in now.items() if n != "postgres"):
                return
            time.sleep(0.05)

    def _await_exit(self, deadline: float) -> None:
        while time.monotonic() < deadline and orphans.find(self._config.home, "supervisor"):
            time.sleep(0.05)

    def _call(self, method: str, *arguments: Any, accept: tuple[str, ...] = ()) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._config.socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if any(word in fault.faultString for word in accept):
                return None
            raise Unavailable(f"supervisord refused {method} {arguments}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise Unavailable(f"supervisord does not answer at {self._config.socket}: {error}") from error
        finally:
            transport.close()


def _state(info: Mapping[str, Any]) -> ProcessState:
    started = datetime.fromtimestamp(info["start"], UTC) if info["start"] else None
    return ProcessState(info["name"], info["statename"], info["pid"], started, info["spawnerr"] or info["description"])


def _private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid():
        raise Unavailable(f"{folder} belongs to somebody else; the supervisor's socket must not lie there.")


def tail(path: Path, lines: int = 25) -> str:
    """The end of a log, for a message."""
    if not path.is_file():
        return f"({path} does not exist)"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
