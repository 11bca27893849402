"""Versions of the data in DVC: ``ports.datasets.Datasets``.

The platform's data directory is a DVC project of its own (no Git): versioning never touches the user's repository, and
the platform works where there is none.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from modelyard.core.digest import short
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.records import Snapshot
from modelyard.core.window import Window
from modelyard.data.frames import canonical, content_digest, read_parquet, write_parquet
from modelyard.data.locks import exclusive

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

KeyOf = Callable[[str], str]
"""The key column of a model."""

_QUIET = {"DVC_NO_ANALYTICS": "1", "ITERATIVE_DO_NOT_TRACK": "1"}
_REMOTE = "store"


class DvcDatasets:
    """Snapshots under ``folder``, each with its ``.dvc`` file, pushed to ``remote`` (by default a folder beside it).

    ``keys`` gives the key column of a model; it fixes the canonical order of the rows.
    """

    def __init__(self, folder: Path, *, keys: KeyOf, remote: str = "") -> None:
        self._folder = folder
        self._remote = remote or str(folder.with_name(f"{folder.name}-remote"))
        self._key = keys

    def put(self, model: str, window: Window, as_of: datetime, frame: pd.DataFrame) -> Snapshot:
        """Keep the rows as one version; the same rows again are the same version (whatever their order)."""
        rows = canonical(frame, self._key(model))
        content = content_digest(rows, name=model)
        path = self._folder / model / f"{short(content, 16)}.parquet"
        with exclusive(self._folder / ".lock"):
            md5 = _recorded(path) or self._add(path, rows)
        relative = str(path.relative_to(self._folder))
        columns = tuple(map(str, rows.columns))
        return Snapshot(
            model=model,
            window=window,
            as_of=as_of,
            rows=len(rows),
            columns=columns,
            content=content,
            dvc_md5=md5,
            path=relative,
        )

    def read(self, snapshot: Snapshot) -> pd.DataFrame:
        """The rows, in canonical order, fetched from the remote where need be.

        Raises:
            IntegrityError: they do not match the digest.
        """
        rows = read_parquet(self.path(snapshot))
        if (found := content_digest(rows, name=snapshot.model)) != snapshot.content:
            raise IntegrityError(f"{snapshot.path} holds {found}, the snapshot is {snapshot.content}")
        return rows

    def path(self, snapshot: Snapshot) -> Path:
        """A local file with the rows."""
        path = self._folder / snapshot.path
        if not path.is_file():
            with exclusive(self._folder / ".lock"), self._repo() as repo:
                if not path.with_name(f"{path.name}.dvc").is_file():
                    raise NotFound("snapshot", snapshot.content, hint=f"{self._folder} does not have it.")
                repo.pull(targets=[f"{path}.dvc"], remote=_REMOTE)
        return path

    def _add(self, path: Path, rows: pd.DataFrame) -> str:
        write_parquet(rows, path)
        with self._repo() as repo:
            repo.add([str(path)])
            repo.push(targets=[f"{path}.dvc"], remote=_REMOTE)
        return _recorded(path) or ""

    @contextmanager
    def _repo(self) -> Iterator[Any]:
        os.environ.update(_QUIET)
        from dvc.repo import Repo

        if not (self._folder / ".dvc").is_dir():
            self._initialise(Repo)
        repo = Repo(str(self._folder))
        try:
            yield repo
        finally:
            repo.close()

    def _initialise(self, repo: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # DVC logs its greeting on standard output, where a command's JSON belongs.
        logging.getLogger("dvc").setLevel(logging.WARNING)
        repo.init(str(self._folder), no_scm=True).close()
        remote = self._remote
        if "://" not in remote:
            Path(remote).mkdir(parents=True, exist_ok=True)
        (self._folder / ".dvc" / "config").write_text(
            "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n    autostage = false\n"
            f"    remote = {_REMOTE}\n"
            # A hard link to the cache is free, and read-only: a version cannot be changed by accident.
            '[cache]\n    type = "reflink,hardlink,copy"\n'
            f"['remote \"{_REMOTE}\"']\n    url = {remote}\n"
        )


def _recorded(path: Path) -> str | None:
    """The md5 that DVC has recorded for this file, once it was added whole."""
    record = path.with_name(f"{path.name}.dvc")
    if not record.is_file():
        return None
    return str(yaml.safe_load(record.read_text())["outs"][0]["md5"])
