"""Judging what a process says of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.runtime import sockets
from modelyard.runtime.health import complaint, judge
from modelyard.runtime.spec import CommandCheck, HttpCheck

START = datetime(2026, 1, 1, tzinfo=UTC)
CHECK = HttpCheck(url="u", status=("scheduler", "status"), beat=("scheduler", "beat"))


def answer(status: str | None, beat: datetime | None) -> dict[str, Any]:
    return {"scheduler": {"status": status, "beat": beat.isoformat() if beat else None}}


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (answer("healthy", START + timedelta(seconds=1)), None),
        (answer("healthy", (START + timedelta(seconds=1)).replace(tzinfo=None)), None),
        (answer("healthy", START - timedelta(seconds=1)), "no heartbeat since its start"),
        (answer("healthy", None), "no heartbeat since its start"),
        (answer("unhealthy", START + timedelta(seconds=1)), "scheduler.status is 'unhealthy'"),
        (answer(None, None), "scheduler.status is None"),
        ({}, "scheduler.status is None"),
        ([], "scheduler.status is None"),
    ],
)
def test_a_component_is_well_only_if_it_says_so_itself(said: Any, wrong: str | None) -> None:
    found = judge(said, CHECK, START)
    assert found is None if wrong is None else found is not None and found.startswith(wrong)


def test_who_does_not_answer_is_not_well() -> None:
    url = f"http://127.0.0.1:{sockets.free_port()}/"
    assert "refused" in str(complaint(HttpCheck(url=url)))


def test_a_command_tells_by_its_exit_code() -> None:
    assert complaint(CommandCheck(command=("true",))) is None
    assert complaint(CommandCheck(command=("false",))) == "false ended with 1"
    assert "timed out" in str(complaint(CommandCheck(command=("sleep", "5")), timeout=0.05))
    assert "No such file" in str(complaint(CommandCheck(command=("no-such-program",))))
