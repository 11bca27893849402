"""Write-ahead journal of the prediction log, for who may lose nothing: on disk before the answer is given.

Records are appended to a segment and brought to the disk (``fdatasync``), all of one turn of the event loop at once.
A segment is removed when all of its rows are in Parquet files. What a replica that was killed leaves behind is read by
the next one of its name, and written as Parquet then; a row that gets there twice counts once (``adapters``).

A record is its length and CRC-32 (each four bytes, little-endian) and its body. One that is cut short was never
answered, and ends its segment.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

_log = logging.getLogger(__name__)
_HEAD = struct.Struct("<II")


class Segment:
    """One file, and how many of its rows are not in Parquet yet."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rows, self.open = path, 0, True
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # nobody recovers it while this process lives
        _sync_folder(path.parent)

    def append(self, body: bytes, rows: int) -> None:
        """On disk when this returns. Raises ``OSError``: then nothing may be answered."""
        data = _HEAD.pack(len(body), crc32(body)) + body
        while data:
            data = data[os.write(self._file, data) :]
        os.fdatasync(self._file)
        self.rows += rows

    def close(self) -> None:
        """No more records; removed when all of its rows are written elsewhere."""
        self.open = False
        os.close(self._file)
        self.done(0)

    def done(self, rows: int) -> None:
        """So many of its rows are in Parquet."""
        self.rows -= rows
        if not self.open and self.rows <= 0:
            self.path.unlink(missing_ok=True)


class Journal:
    """The segments of one replica, one of them open."""

    def __init__(self, folder: Path, start: str) -> None:
        self._folder, self._start, self._number = folder, start, 0
        self._segment: Segment | None = None

    def append(self, body: bytes, rows: int) -> Segment:
        """The segment in which the record is now. Raises ``OSError``."""
        if self._segment is None:
            self._number += 1
            self._segment = Segment(self._folder / f"{self._start}-{self._number:08d}.wal")
        try:
            self._segment.append(body, rows)
        except OSError:
            # What comes behind half a record would not be read: the next record goes to a file of its own.
            self.rotate()
            raise
        return self._segment

    def rotate(self) -> None:
        """Begin a new segment with the next record."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.close()


def left_behind(folder: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """The records of each segment that no living process writes to, oldest first; the caller removes what it kept."""
    for path in sorted(folder.glob("*.wal"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield path, list(_records(file.read(), path))


def _records(data: bytes, path: Path) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            break
        length, check = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or crc32(body) != check:
            break
        yield body
        at += _HEAD.size + length
    if at < len(data):
        _log.warning("%s ends within a record, which was not answered: %d bytes left out", path, len(data) - at)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
