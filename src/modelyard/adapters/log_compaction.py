"""Makes few files of the prediction log's many: one for each day, replica and rollout.

May be run at any time, beside gateways and readers, and killed at any time: a merged file is whole or absent, and what
it was made of goes after it is there. Rows that are in both meanwhile count once (``prediction_log``).
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.core.errors import Conflict

_NAME = re.compile(r"(?P<replica>.+)-[0-9a-f]{8}-[0-9]{8}(?P<rollout>~.*)?[.]parquet")
_ONCE = "QUALIFY row_number() OVER (PARTITION BY request_id, key ORDER BY isnan(other_score), served_at) = 1"
MERGED = "-00000000"
"""In the name of a merged file; gateways number theirs from 1."""
_PARTIAL = ".merging"
"""Ends the name of what is being merged: a gateway's own files in the making end in ``.partial``, beside it."""


def compact(root: Path, model: str) -> tuple[int, int]:
    """Merge a model's files, of predictions, labels and numbers; how many there were, and how many there are now.

    Raises:
        Conflict: another process is at it.
    """
    before = after = 0
    if not (root / model).is_dir():
        return 0, 0
    with _alone(root / model / ".merging", model):
        for kind in ("predictions", "feedback", "numbers"):
            for folder in sorted((root / model / kind).glob("date=*")):
                for left in folder.glob(f".*{_PARTIAL}"):  # of one that was killed
                    left.unlink(missing_ok=True)
                found, made = _folder(folder, _ONCE if kind == "predictions" else "")
                before, after = before + found, after + made
    return before, after


@contextmanager
def _alone(lock: Path, model: str) -> Iterator[None]:
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"the prediction log of {model} is being merged already; wait for that to end") from None
        yield


def _folder(folder: Path, once: str) -> tuple[int, int]:
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.parquet")):
        if named := _NAME.fullmatch(path.name):
            groups[named["replica"], named["rollout"] or ""].append(path)
    for (replica, rollout), files in groups.items():
        if len(files) > 1:
            _merge(files, folder / f"{replica}-{secrets.token_hex(4)}{MERGED}{rollout}.parquet", once)
    return sum(map(len, groups.values())), len(groups)


def _merge(files: list[Path], into: Path, once: str) -> None:
    import duckdb

    partial = into.with_name(f".{into.name}{_PARTIAL}")
    names = ", ".join(_quoted(path) for path in files)
    rows = f"SELECT * FROM read_parquet([{names}], union_by_name = true, hive_partitioning = false) {once}"  # noqa: S608
    with duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 2}) as connection:
        connection.execute(f"COPY ({rows}) TO {_quoted(partial)} (FORMAT parquet, COMPRESSION zstd)")
    _sync(partial)
    partial.replace(into)
    _sync(into.parent)
    for path in files:
        path.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
