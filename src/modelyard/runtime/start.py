"""Starts the processes in the order of their dependencies, each when those before it are well."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from modelyard.core.errors import Unavailable
from modelyard.runtime import orphans
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.environment import clean_base
from modelyard.runtime.health import complaint
from modelyard.runtime.launch import resolve
from modelyard.runtime.secrets import write_private
from modelyard.runtime.spec import ProcessSpec
from modelyard.runtime.stamps import fingerprint
from modelyard.runtime.supervise import ALIVE, Supervisor, tail

Progress = Callable[[str, str], None]
"""Called with the name of a process and what happened: ``starting``, ``ready``, ``done``, ``as before``."""


class Starter:
    """One walk from nothing, or from whatever runs, to everything being well."""

    def __init__(
        self, config: RuntimeConfig, supervisor: Supervisor, on_progress: Progress, pause: float = 0.2
    ) -> None:
        self._config, self._supervisor, self._tell, self._pause = config, supervisor, on_progress, pause
        self._ready: set[str] = set()
        self._since: dict[str, float] = {}
        self._tasks: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, specs: tuple[ProcessSpec, ...]) -> None:
        """Return when all are well.

        Raises:
            Unavailable: one failed or took too long; the message names its log and shows the end of it.
        """
        try:
            while len(self._ready) < len(specs):
                for spec in specs:
                    if spec.name not in self._ready and self._ready.issuperset(spec.depends_on):
                        self._advance(spec)
                time.sleep(self._pause)
        finally:
            for process in self._tasks.values():
                if process.poll() is None:
                    process.terminate()

    def _advance(self, spec: ProcessSpec) -> None:
        if spec.kind == "task":
            self._advance_task(spec)
        else:
            self._advance_service(spec)
        waited = time.monotonic() - self._since.get(spec.name, time.monotonic())
        if spec.name not in self._ready and waited > spec.start_wait:
            self._fail(spec, f"is not well after {spec.start_wait} s: {self._complaint(spec) or 'it does not end'}")

    def _advance_service(self, spec: ProcessSpec) -> None:
        state = (self._supervisor.states() or {}).get(spec.name)
        if state is None:
            raise Unavailable("the supervisor ended while the platform was starting; run `modelyard up` again.")
        if spec.name not in self._since:
            self._since[spec.name] = time.monotonic()
            if state.state not in ALIVE:
                self._tell(spec.name, "starting")
                self._supervisor.start(spec.name)
                return
        if state.state == "FATAL":
            self._fail(spec, "does not stay up")
        if state.state == "RUNNING" and self._complaint(spec) is None:
            self._finish(spec, "ready")

    def _complaint(self, spec: ProcessSpec) -> str | None:
        state = (self._supervisor.states() or {}).get(spec.name)
        if spec.health is None or state is None:
            return None
        return complaint(spec.health, since=state.started, timeout=3.0)

    def _advance_task(self, spec: ProcessSpec) -> None:
        stamp = self._config.run / "done" / spec.name
        if spec.name not in self._since:
            self._since[spec.name] = time.monotonic()
            if stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint(spec):
                self._finish(spec, "as before")
                return
            self._tell(spec.name, "starting")
            self._tasks[spec.name] = run_task(self._config, spec, os.environ)
        code = self._tasks[spec.name].poll()
        if code == 0:
            write_private(stamp, fingerprint(spec))
            self._finish(spec, "done")
        elif code is not None:
            self._fail(spec, f"ended with {code}")

    def _finish(self, spec: ProcessSpec, how: str) -> None:
        self._ready.add(spec.name)
        self._tell(spec.name, how)

    def _fail(self, spec: ProcessSpec, what: str) -> None:
        log = self._config.logs / f"{spec.name}.log"
        raise Unavailable(
            f"{spec.name} {what}. The end of {log}:\n{tail(log)}\n"
            "`modelyard doctor` looks for causes; `modelyard up` tries again from here."
        )


def run_task(config: RuntimeConfig, spec: ProcessSpec, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a task; what it says goes to its log."""
    config.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = f"{config.python.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    full = {**clean_base(env), **spec.env, **orphans.marks(config.home, spec.name), "PATH": path}
    place = orphans.workplace(config.home, spec.name)
    place.mkdir(parents=True, exist_ok=True)
    with Path(config.logs / f"{spec.name}.log").open("ab") as log:
        return subprocess.Popen(
            resolve(spec.command, config.python),
            env=full,
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
