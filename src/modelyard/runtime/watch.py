"""The watchdog: restarts what runs but does not answer, and what the supervisor gave up on.

A process has to be unwell for ``STRIKES`` rounds in a row while all that it depends on is well: a busy machine is slow,
and a restart in the middle of a task costs more than patience.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from modelyard.config.settings import Settings
from modelyard.core.errors import NotFound, Unavailable
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.health import complaint
from modelyard.runtime.secrets import read_secrets
from modelyard.runtime.spec import WATCHDOG, ProcessSpec, services
from modelyard.runtime.supervise import ProcessState, Supervisor

STRIKES = 10
PERIOD = 10.0

Ask = Callable[[ProcessSpec, ProcessState], str | None]


def due(
    specs: tuple[ProcessSpec, ...],
    states: Mapping[str, ProcessState],
    strikes: dict[str, int],
    ask: Ask,
    now: datetime,
) -> list[tuple[str, str]]:
    """Count this round's strikes; returns whom to restart, and why. Everything it needs to know is given."""
    unwell: set[str] = set()
    chosen: list[tuple[str, str]] = []
    for spec in specs:
        state = states.get(spec.name)
        if spec.name == WATCHDOG or state is None or state.state in ("STOPPED", "STOPPING"):
            strikes.pop(spec.name, None)
            unwell.add(spec.name)
            continue
        if state.state == "FATAL":
            chosen.append((spec.name, "the supervisor gave up on it"))
        problem = state.detail if state.state != "RUNNING" else ask(spec, state)
        if problem is None:
            strikes.pop(spec.name, None)
            continue
        unwell.add(spec.name)
        young = state.started is not None and (now - state.started).total_seconds() < spec.start_wait
        if state.state != "RUNNING" or young or unwell.intersection(spec.depends_on):
            continue
        strikes[spec.name] = strikes.get(spec.name, 0) + 1
        if strikes[spec.name] >= STRIKES:
            chosen.append((spec.name, problem))
            strikes.pop(spec.name)
    return chosen


def _ask(spec: ProcessSpec, state: ProcessState) -> str | None:
    return None if spec.health is None else complaint(spec.health, since=state.started, timeout=10.0)


def watch(config: RuntimeConfig, pause: Callable[[float], None] = time.sleep) -> None:
    """Look every ``PERIOD`` seconds, until the supervisor is gone."""
    supervisor, strikes = Supervisor(config), dict[str, int]()
    specs = services(config)
    while (states := supervisor.states()) is not None:
        for name, why in due(specs, states, strikes, _ask, datetime.now(UTC)):
            print(f"{datetime.now(UTC).isoformat()} restarting {name}: {why}", flush=True)
            try:
                supervisor.stop(name)
                supervisor.start(name)
            except Unavailable as error:
                print(f"{name}: {error}", flush=True)
        pause(PERIOD)


def main() -> int:
    """``python -m modelyard.runtime.watch``, in the environment of a supervised process."""
    settings = Settings.from_env()
    secrets = read_secrets(settings.home)
    if secrets is None:
        raise NotFound("installation", settings.home, hint="`modelyard up` makes one.")
    watch(RuntimeConfig.embedded(settings, secrets))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
