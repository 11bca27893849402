"""Asks a process whether it is well. The answer is None, or what is wrong in words."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.runtime.launch import resolve
from modelyard.runtime.spec import CommandCheck, HttpCheck

# The proxies of a person's environment must not stand between us and our own machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def complaint(check: HttpCheck | CommandCheck, *, since: datetime | None = None, timeout: float = 5.0) -> str | None:
    """What is wrong, or None. ``since`` is when the process started: older heartbeats are not its own."""
    if isinstance(check, CommandCheck):
        return _ask_command(check, timeout)
    return _ask_http(check, since, timeout)


def _ask_command(check: CommandCheck, timeout: float) -> str | None:
    command = resolve(check.command, Path(sys.executable))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{check.command[0]}: {error}"
    return (
        None
        if done.returncode == 0
        else f"{check.command[0]} ended with {done.returncode} {done.stderr.strip()}".strip()
    )


def _ask_http(check: HttpCheck, since: datetime | None, timeout: float) -> str | None:
    try:
        with _opener.open(check.url, timeout=timeout) as response:
            body = response.read(1 << 20)
    except (urllib.error.URLError, OSError) as error:
        return f"{check.url}: {getattr(error, 'reason', error)}"
    if not check.status:
        return None
    try:
        return judge(json.loads(body), check, since)
    except ValueError:
        return f"{check.url}: the answer is not JSON"


def judge(answer: Any, check: HttpCheck, since: datetime | None) -> str | None:
    """What a JSON answer says is wrong, or None.

    >>> judge({"scheduler": {"status": "unhealthy"}}, HttpCheck(url="u", status=("scheduler", "status")), None)
    "scheduler.status is 'unhealthy'"
    """
    state = _at(answer, check.status)
    if state != "healthy":
        return f"{'.'.join(check.status)} is {state!r}"
    if check.beat and since is not None:
        beat = _at(answer, check.beat)
        if not isinstance(beat, str) or _moment(beat) < since:
            return f"no heartbeat since its start (last: {beat})"
    return None


def main(arguments: list[str]) -> int:
    """``python -m modelyard.runtime.health URL [KEY...]``: what the containers' health checks run."""
    problem = complaint(HttpCheck(url=arguments[0], status=tuple(arguments[1:])))
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _at(answer: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
