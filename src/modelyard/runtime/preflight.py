"""What must hold before anything is started. Each failure says how to mend it, and nothing has been touched yet."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from modelyard.core.errors import Conflict, Unavailable
from modelyard.runtime import orphans, sockets
from modelyard.runtime.spec import ProcessSpec

PYTHON = ((3, 11), (3, 14))
FREE_BYTES = 2 * 1024**3


def check_python(found: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raises ``Unavailable`` for a Python that the pinned libraries do not know."""
    low, high = PYTHON
    if not low <= found < high:
        raise Unavailable(
            f"Python {found[0]}.{found[1]} is not supported: install 3.11, 3.12 or 3.13 and run `make setup` again."
        )


def check_disk(home: Path, needed: int = FREE_BYTES) -> None:
    """Raises ``Unavailable`` when the disk of the home is nearly full."""
    place = next(folder for folder in (home, *home.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise Unavailable(
            f"only {free / 1024**3:.1f} GiB are free on the disk of {home}, and {needed / 1024**3:.0f} are needed: "
            "free some, or set MODELYARD_HOME to a folder on a larger disk."
        )


def check_ports(specs: Iterable[ProcessSpec], home: Path, running: Collection[str]) -> None:
    """Raises ``Conflict`` when somebody else has a port that a process of ours, not yet running, needs."""
    seen: dict[int, str] = {}
    for spec in specs:
        for port in spec.ports:
            if port in seen:
                raise Conflict(
                    f"{seen[port]} and {spec.name} are both to use port {port}: set {spec.port_setting} to another."
                )
            seen[port] = spec.name
            if spec.name not in running and not sockets.is_free(port):
                holder = sockets.holder(port)
                if holder is not None and orphans.part(holder, home):
                    continue  # a leftover of ours, which will be stopped
                other = port + 1000 if port < 60_000 else port - 1000
                raise Conflict(
                    f"port {port}, which {spec.name} needs, is taken by {sockets.describe(holder)}. "
                    f"Stop that, or choose another port: {spec.port_setting}={other} make run"
                )
