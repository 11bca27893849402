"""A lock between processes, held on a file; the operating system frees it when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.core.errors import Unavailable


@contextmanager
def exclusive(path: Path, *, wait_seconds: float = 120.0) -> Iterator[None]:
    """Hold the lock on this file.

    Raises:
        Unavailable: another process held it all the while.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Unavailable(f"{path} was locked by another process for {wait_seconds:g} s") from None
                time.sleep(0.02)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
