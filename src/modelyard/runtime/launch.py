"""Starts one supervised process: clears what a killed predecessor left, then becomes the process.

``python -m modelyard.runtime.launch COMMAND...``; the marks of ``orphans`` in the environment say which part it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.core.errors import ModelyardError
from modelyard.runtime import orphans
from modelyard.runtime.postgres import binaries, forget_dead_server, prefix

_POSTGRES_TOOLS = ("postgres", "pg_isready")


def resolve(command: Sequence[str], python: Path, cluster: Path | None = None) -> list[str]:
    """The command with absolute programs: those of the wheel, of this Python's environment, or of the PATH."""
    program, *rest = command
    if program in _POSTGRES_TOOLS:
        before = prefix(cluster) if program == "postgres" and cluster else ()
        return [*before, str(binaries() / program), *rest]
    if program == "python":
        return [str(python), *rest]
    script = python.parent / program
    return [str(script) if script.is_file() else program, *rest]


def main(arguments: Sequence[str]) -> int:
    """Become the command; returns only when that is impossible."""
    home, name = Path(os.environ[orphans.INSTANCE]), os.environ[orphans.PROCESS]
    try:
        if left := orphans.find(home, name):
            # Two schedulers, or a dead server's worker on the port, would break the new one.
            print(f"{name}: stopping {len(left)} processes of a predecessor", flush=True)
            orphans.stop(left)
        cluster = home / "postgres"
        if name == "postgres":
            forget_dead_server(cluster)
        command = resolve(arguments, Path(sys.executable), cluster)
        os.execvp(command[0], command)  # noqa: S606  becoming another program is what this module is for
    except (ModelyardError, OSError) as error:
        print(f"{name}: cannot start: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
