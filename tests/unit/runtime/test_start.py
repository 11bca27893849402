"""The walk from nothing to everything being well, with a supervisor that only keeps book."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from modelyard.core.errors import Unavailable
from modelyard.runtime import sockets
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.spec import CommandCheck, HttpCheck, ProcessSpec
from modelyard.runtime.start import Starter
from modelyard.runtime.supervise import ProcessState


class BookKeeper:
    """Says that a process runs as soon as it was started; ``broken`` ones are given up."""

    def __init__(self, *names: str, broken: tuple[str, ...] = ()) -> None:
        self.book = {n: ProcessState(n, "STOPPED", 0, None, "") for n in names}
        self.started: list[str] = []
        self.broken = broken

    def states(self) -> dict[str, ProcessState]:
        return self.book

    def start(self, name: str) -> None:
        self.started.append(name)
        state = "FATAL" if name in self.broken else "RUNNING"
        self.book[name] = replace(self.book[name], state=state, started=datetime(2026, 1, 1, tzinfo=UTC))


WELL = CommandCheck(command=("true",))


def service(name: str, *needs: str, health: HttpCheck | CommandCheck = WELL, start_wait: int = 30) -> ProcessSpec:
    return ProcessSpec(name=name, command=("x",), depends_on=needs, health=health, start_wait=start_wait)


def task(name: str, *command: str, needs: tuple[str, ...] = ()) -> ProcessSpec:
    return ProcessSpec(name=name, kind="task", command=command, depends_on=needs)


def walk(config: RuntimeConfig, keeper: BookKeeper, *specs: ProcessSpec) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    Starter(config, keeper, lambda name, what: said.append((name, what)), pause=0.01).run(specs)
    return said


def test_each_after_what_it_needs(config: RuntimeConfig) -> None:
    keeper = BookKeeper("db", "api")
    said = walk(config, keeper, service("db"), task("migrate", "true", needs=("db",)), service("api", "migrate"))
    assert said == [
        ("db", "starting"),
        ("db", "ready"),
        ("migrate", "starting"),
        ("migrate", "done"),
        ("api", "starting"),
        ("api", "ready"),
    ]


def test_what_runs_is_left_alone_and_what_was_done_is_not_repeated(config: RuntimeConfig) -> None:
    keeper = BookKeeper("db")
    specs = (service("db"), task("migrate", "true", needs=("db",)))
    walk(config, keeper, *specs)
    assert walk(config, keeper, *specs) == [("db", "ready"), ("migrate", "as before")]
    assert keeper.started == ["db"]
    changed = task("migrate", "true", "more", needs=("db",))
    assert ("migrate", "done") in walk(config, keeper, service("db"), changed)


def test_a_failed_task_shows_its_log_and_is_tried_again(config: RuntimeConfig) -> None:
    failing = task("migrate", "sh", "-c", "echo the reason; exit 3")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"(?s)migrate ended with 3.*migrate\.log:\nthe reason"):
            walk(config, BookKeeper(), failing)


def test_a_service_that_hangs_is_named_with_its_complaint_and_its_log(config: RuntimeConfig) -> None:
    config.logs.mkdir(parents=True)
    (config.logs / "api.log").write_text("last words\n")
    url = f"http://127.0.0.1:{sockets.free_port()}/"
    hanging = service("api", health=HttpCheck(url=url), start_wait=0)
    with pytest.raises(Unavailable, match=r"(?s)api is not well after 0 s: .*refused.*last words.*modelyard doctor"):
        walk(config, BookKeeper("api"), hanging)


def test_a_service_that_does_not_stay_up_is_told_at_once(config: RuntimeConfig) -> None:
    with pytest.raises(Unavailable, match="api does not stay up"):
        walk(config, BookKeeper("api", broken=("api",)), service("api"))
