"""One process at a time on one training, in a folder of its own whose checkpoints outlive an interruption.

The folder has to be where a retry finds it: with workers on several machines, on storage that they share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.data.locks import exclusive
from modelyard.training.checkpoints import Checkpoints, remove_abandoned

ABANDONED_DAYS = 14.0
"""After so long nobody goes on with a training that failed."""


@contextmanager
def resuming(place: Path, key: str, now: float, *, wait_seconds: float = 120.0) -> Iterator[Path]:
    """The folder under ``place`` of the training that ``key`` (a digest) names; removed once the body succeeds.

    ``now`` (Unix time) decides which other trainings' checkpoints are removed as abandoned.

    Raises:
        Unavailable: another process is at work on the same training.
    """
    folder = place / key.removeprefix("sha256:")
    with exclusive(folder / "lock", wait_seconds=wait_seconds):
        (folder / "lock").touch()  # nobody who tidies up takes it for abandoned
        remove_abandoned(place, older_than_days=ABANDONED_DAYS, now=now)
        yield folder
        Checkpoints(folder, 0).clear()
