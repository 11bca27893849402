"""A window's profile as the merge of its hours, where an hour is counted once.

What was counted of an hour is kept in ``<home>/profiles/<model>/<bins>/<hour>.json`` with a digest of the rows that it
was counted from. The answers to what goes wrong:

* An hour whose rows are the same as before is not counted again; one that got rows since (late data), or lost some, is,
  and the log says so. ``revision`` is how often that has happened.
* A row that is there twice (a file copied, an hour delivered again) counts once, by its ``request_id`` and its ``key``
  where there is one: the rows of one request may share the id that a client gave it.
* A row belongs to the hour of its event time in UTC, whenever it came: after a clock that jumped back its rows are late
  rows of an earlier hour, and rows that claim to be of the future wait until a window reaches them. No change of the
  wall clock, nor daylight saving, moves a row.
* Hours that a window covers in part are counted for that window alone.
* A file that cannot be read is counted anew: the cache saves work, and is never the truth.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field, ValidationError

from modelyard.core.digest import digest_bytes
from modelyard.core.profile import Profile, merge
from modelyard.core.value import Digest, Moment, Value
from modelyard.core.window import Window
from modelyard.drift.counts import count, counted_as

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_HOUR = timedelta(hours=1)


class HourCounts(Value):
    """What was counted of one hour: ``counts`` per feature, in the order of the profile whose ``bins`` they are in.

    ``rows`` is the digest of the requests counted, ``revision`` how often the hour was counted again.
    """

    hour: Moment
    bins: Digest
    rows: Digest
    n: int = Field(ge=0)
    counts: tuple[tuple[int, ...], ...]
    revision: int = Field(default=0, ge=0)


class Counted(NamedTuple):
    """A window's profile, and which of its hours were counted for it: for the first time, or again."""

    profile: Profile
    fresh: tuple[datetime, ...]
    again: tuple[datetime, ...]


def window_profile(folder: Path, reference: Profile, rows: pd.DataFrame, window: Window) -> Counted:
    """Count the rows of the window in the reference's bins, hour by hour, with what ``folder`` keeps of earlier hours.

    ``rows`` have ``event_time`` (UTC), ``request_id``, mostly ``key``, and the features; rows outside of the window are
    left out.
    """
    rows = rows[(rows["event_time"] >= window.start) & (rows["event_time"] < window.end)]
    rows = rows.drop_duplicates(_named_by(rows))
    store = _Store(folder, reference)
    profiles: list[Profile] = []
    fresh: list[datetime] = []
    again: list[datetime] = []
    for hour, part in _hours(rows):
        if hour < window.start or hour + _HOUR > window.end:
            profiles.append(count(reference, part))
            continue
        kept, digest = store.read(hour), _digest(part)
        if kept is None or kept.rows != digest:
            (fresh if kept is None else again).append(hour)
            kept = store.write(hour, digest, count(reference, part), 0 if kept is None else kept.revision + 1)
        profiles.append(counted_as(reference, kept.counts, kept.n))
    if again:
        listed = ", ".join(f"{hour:%Y-%m-%dT%H}" for hour in again)
        _log.warning("rows came late for %d hours already profiled, which were counted again: %s", len(again), listed)
    return Counted(merge(reference.empty(), *profiles), tuple(fresh), tuple(again))


def _hours(rows: pd.DataFrame) -> Iterator[tuple[datetime, pd.DataFrame]]:
    for hour, part in rows.groupby(rows["event_time"].dt.floor("h"), sort=True):
        yield hour.to_pydatetime(), part


def _digest(rows: pd.DataFrame) -> str:
    """Names the rows by their requests and keys: what a row was answered by never changes in the log."""
    names = rows[_named_by(rows)].astype(str).itertuples(index=False, name=None)
    return digest_bytes("\n".join(sorted(map("\t".join, names))).encode())


def _named_by(rows: pd.DataFrame) -> list[str]:
    return [column for column in ("request_id", "key") if column in rows.columns]


class _Store:
    def __init__(self, folder: Path, reference: Profile) -> None:
        self._reference, self._bins = reference, reference.bins_digest
        self._folder = folder / self._bins.removeprefix("sha256:")[:16]

    def _file(self, hour: datetime) -> Path:
        return self._folder / f"{hour:%Y-%m-%dT%H}.json"

    def read(self, hour: datetime) -> HourCounts | None:
        """What is kept of the hour, if it can be used."""
        try:
            kept = HourCounts.from_json(self._file(hour).read_bytes())
            counted_as(self._reference, kept.counts, kept.n)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, ValueError) as error:
            _log.warning("%s is counted anew, its file cannot be used: %s", hour, error)
            return None
        return kept if (kept.hour, kept.bins) == (hour, self._bins) else None

    def write(self, hour: datetime, rows: str, profile: Profile, revision: int) -> HourCounts:
        """Keep the hour; the file is whole or not there, whoever else writes it."""
        counts = tuple(f.counts for f in profile.features)
        kept = HourCounts(hour=hour, bins=self._bins, rows=rows, n=profile.n, counts=counts, revision=revision)
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=self._folder, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(kept.to_json())
        Path(draft).replace(self._file(hour))
        return kept
