"""Two replicas of the gateway behind the shipped edge, and the platform's own way of telling them what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from _bundles import MODEL, row, trust
from _fixtures import Edge, edge_before
from _servers import HERE, TOKEN, free_port, wait_for

from modelyard.adapters.gateway_fleet import GatewayFleet
from modelyard.ports.fleet import Route


class Replica:
    """One replica as a process; ``slow`` names versions of which each score takes so many seconds longer."""

    def __init__(self, home: Path, name: str, slow: dict[int, float]) -> None:
        self.name, self.port, self._log = name, free_port(), home / f"{name}.log"
        program = ["-m", "modelyard.serving"]
        if slow:
            program = [str(HERE / "_slow.py"), ",".join(f"{version}:{s}" for version, s in slow.items())]
        self._command = [sys.executable, *program, "--replica", name, "--port", str(self.port)]
        self._env = os.environ | {"MODELYARD_HOME": str(home), "MODELYARD_ADMIN_TOKEN_FILE": str(home / "token")}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        with self._log.open("ab") as said:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=said, stderr=said)
        wait_for(self._process, f"{self.url}/healthz", self._log)

    def kill(self) -> None:
        """As a machine that loses power does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly stop."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(60)


@dataclass
class Replicas:
    """All replicas. ``follow`` counts only when every one of them has acknowledged."""

    all: list[Replica]
    fleet: GatewayFleet
    edge: Edge
    generations: Iterator[int] = field(default_factory=lambda: count(1))

    def follow(self, route: Route) -> None:
        """Bring every replica to this route. Raises where one does not acknowledge."""
        generation = next(self.generations)
        states = self.fleet.apply(route, generation)
        found = {state.replica: (state.generation, state.weight) for state in states.values()}
        assert found == {each.name: (generation, route.weight) for each in self.all}, found

    def versions(self) -> set[int]:
        """Which versions answer one and the same row, over all replicas."""
        answers = self.fleet.predict(MODEL, {"rows": [row(0)]})
        return {answer["predictions"][0]["version"] for answer in answers}

    def counts(self) -> dict[str, dict[str, Any]]:
        """What each replica says of the challenger."""
        states = self.fleet.state(MODEL)
        return {name: {"tripped": s.tripped, **s.counts.get("challenger", {})} for name, s in states.items()}

    @property
    def edge_port(self) -> int:
        """Where users come in."""
        return int(httpx.URL(self.edge.url).port or 0)


@contextmanager
def replicas(folder: Path, slow: dict[int, float] | None = None, number: int = 2) -> Iterator[Replicas]:
    """Running replicas behind the edge."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(TOKEN)
    trust(folder)
    made = [Replica(folder, f"gateway-{n}", slow or {}) for n in range(1, number + 1)]
    with ExitStack() as stack:
        for each in made:
            stack.callback(each.stop)
            each.start()
        edge = stack.enter_context(edge_before(folder, [each.url for each in made]))
        yield Replicas(made, GatewayFleet([each.url for each in made], folder / "token"), edge)
