"""Anchors of the audit log in a file, which is no part of the database: one head per line, only ever appended to."""

from __future__ import annotations

import os
from pathlib import Path

from modelyard.core.chain import Head
from modelyard.core.errors import Conflict


class FileAnchors:
    """``ports.ledger.Anchors``. Keep the file, or copies of it, where those who may write the database may not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, head: Head) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # One write of a short line to a file opened for appending: writers at once do not mix their lines.
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(file, f"{head}\n".encode())
        finally:
            os.close(file)

    def read(self) -> dict[int, str]:
        if not self._path.exists():
            return {}
        found: dict[int, str] = {}
        for number, line in enumerate(self._path.read_text(encoding="utf-8").split("\n")[:-1], 1):
            try:
                head = Head.parse(line)
            except ValueError:
                raise Conflict(
                    f"{self._path}, line {number}: {line[:40]!r} is no anchor; the file was changed"
                ) from None
            if found.setdefault(head.seq, head.digest) != head.digest:
                raise Conflict(f"{self._path} has two anchors for entry {head.seq}; the log was rewritten and went on")
        return found
