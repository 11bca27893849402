"""Keeps the state of a training under way: one safetensors file each, whole or absent, verified when read, no pickle.

A file is called ``<number>-<sha256>.safetensors`` after its own bytes, so a damaged one gives itself away. It is
written beside its place, flushed to the disk and then renamed. The two newest are kept: where the newest is damaged,
the one before it serves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.core.errors import IntegrityError

KEPT = 2
SUFFIX = ".safetensors"
_FACTS = "facts"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """What a training needs to go on: tensors by name, and facts that are plain JSON."""

    tensors: Mapping[str, Any]
    facts: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training in a folder of its own. At most one process writes there at a time.

    ``every_seconds`` is how much work may be lost; 0 keeps a checkpoint after every step. ``subject`` is the digest of
    the rows that are trained on: a checkpoint of others is not gone on from.
    """

    def __init__(
        self, folder: Path, every_seconds: float, subject: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.subject = folder, subject
        self._every, self._clock = every_seconds, clock
        self._last = clock()

    def due(self) -> bool:
        """Whether enough time has gone by since the last one, or since the beginning."""
        return self._clock() - self._last >= self._every

    def save(self, state: State) -> Path:
        """Keep the state as the newest checkpoint and forget all but the one before it.

        Raises:
            OSError: the folder cannot be written.
        """
        from safetensors.torch import save

        content = bytes(save(dict(state.tensors), metadata={_FACTS: json.dumps(state.facts)}))
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self._files()
        number = 1 + (_number(before[-1]) if before else 0)
        path = self.folder / f"{number:08d}-{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        _write(path, content)
        for old in before[: len(before) + 1 - KEPT]:
            old.unlink(missing_ok=True)
        self._last = self._clock()
        return path

    def newest(self) -> State | None:
        """The newest checkpoint that is whole; damaged ones are reported in the log and removed. None without any."""
        for path in reversed(self._files()):
            try:
                return _read(path)
            except IntegrityError as error:
                _log.warning("%s; the checkpoint before it is taken, if there is one", error)
                path.unlink(missing_ok=True)
        return None

    def clear(self) -> None:
        """Remove them all: the training has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"[0-9]*-*{SUFFIX}"))


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also after a loss of power."""
    # A dot in front: what a process that was killed left half written is not taken for a checkpoint.
    scratch = path.with_name(f".{os.getpid()}.part")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> State:
    from safetensors.torch import load

    content = path.read_bytes()
    if path.name.partition("-")[2] != hashlib.sha256(content).hexdigest() + SUFFIX:
        raise IntegrityError(f"checkpoint {path} does not have the digest in its name")
    # The format: 8 bytes with the length of a JSON header, the header, the tensors.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return State(load(content), json.loads(header["__metadata__"][_FACTS]))


def remove_abandoned(place: Path, *, older_than_days: float, now: float) -> None:
    """Remove the checkpoints under ``place`` of trainings that nobody went on with for so long (``now``: Unix time)."""
    for folder in (f for f in place.glob("*") if f.is_dir()):
        newest = max((f.stat().st_mtime for f in (folder, *folder.iterdir())), default=now)
        if newest < now - older_than_days * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
