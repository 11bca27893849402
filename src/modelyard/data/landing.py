"""The landing zone: rows by the day on which they became known to the platform.

    <folder>/day=2013-01-15.parquet

What is not here the platform does not know: snapshots and features read nothing else, so a past moment can be seen
again as it was.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pandas as pd

from modelyard.core.window import Window
from modelyard.data.frames import canonical, read_parquet, write_parquet
from modelyard.data.locks import exclusive


class LandingZone:
    """One model's landed rows. ``key`` names a row, ``known_at`` and ``event_time`` are its moments."""

    def __init__(self, folder: Path, *, key: str, event_time: str, known_at: str) -> None:
        self._folder, self._key, self._event_time, self.known_at = folder, key, event_time, known_at

    def add(self, rows: pd.DataFrame) -> int:
        """Land rows whose outcome is known; the same rows again change nothing. Returns how many are new or changed.

        A correction by the source is the same key again: known the same day it replaces the row; known on another day
        both are kept, and reading gives the one that was known last. A row without ``known_at`` is refused.
        """
        if rows[self.known_at].isna().any():
            raise ValueError(
                f"only rows with {self.known_at} can land; {int(rows[self.known_at].isna().sum())} lack it"
            )
        if rows.empty:
            return 0
        with exclusive(self._folder / ".lock"):
            days = rows[self.known_at].dt.tz_convert("UTC").dt.date
            return sum(self._merge(day, part) for day, part in rows.groupby(days))

    def _merge(self, day: date, rows: pd.DataFrame) -> int:
        path = self._folder / f"day={day.isoformat()}.parquet"
        new = canonical(rows, self._key)
        if not path.is_file():
            write_parquet(new, path)
            return len(new)
        old = read_parquet(path)
        changed = new.merge(old, how="left", indicator=True)["_merge"].eq("left_only") if _alike(old, new) else None
        if changed is not None and not changed.any():
            return 0
        kept = old[~old[self._key].isin(new[self._key])]
        write_parquet(canonical(pd.concat([kept, new], ignore_index=True), self._key), path)
        return int(changed.sum()) if changed is not None else len(new)

    def read(self, after: datetime | None, until: datetime) -> pd.DataFrame:
        """Rows with ``after < known_at <= until``, in order of ``known_at`` and key; None: from the beginning.

        Of a key that was corrected only the version known last by ``until``: a moment before the correction is still
        seen as it was. An empty frame, without columns, when nothing has landed.
        """
        first = after.date() if after else date.min
        days = [path for day, path in self.days().items() if first <= day <= until.date()]
        if not days:
            return pd.DataFrame()
        rows = pd.concat([read_parquet(path) for path in days], ignore_index=True)
        known = rows[self.known_at]
        chosen = known <= pd.Timestamp(until) if after is None else known.gt(after) & known.le(until)
        ordered = rows[chosen].sort_values([self.known_at, self._key])
        return self.newest_of_each(ordered)

    def newest_of_each(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows, in order of ``known_at``, without those that a later one of the same key corrects."""
        return rows.drop_duplicates(self._key, keep="last", ignore_index=True)

    def snapshot(self, window: Window, as_of: datetime) -> pd.DataFrame:
        """Rows with ``event_time`` in the window whose outcome was known by ``as_of``."""
        # Nothing is known before it happens, so earlier days cannot hold a row of the window.
        rows = self.read(window.start.replace(hour=0, minute=0, second=0, microsecond=0), as_of)
        if rows.empty:
            return rows
        asked = rows[self._event_time]
        return rows[asked.ge(window.start) & asked.lt(window.end)].reset_index(drop=True)

    def days(self) -> dict[date, Path]:
        """The partitions, in order."""
        found = {
            date.fromisoformat(path.stem.removeprefix("day=")): path for path in self._folder.glob("day=*.parquet")
        }
        return dict(sorted(found.items()))

    def newest(self) -> datetime | None:
        """The latest ``known_at`` that has landed."""
        days = list(self.days().values())
        return read_parquet(days[-1], [self.known_at])[self.known_at].max().to_pydatetime() if days else None

    def version(self) -> str:
        """Changes whenever a partition does; equal while nothing has landed."""
        stats = ((day.isoformat(), path.stat()) for day, path in self.days().items())
        return str([(day, stat.st_size, stat.st_mtime_ns) for day, stat in stats])


def _alike(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    return list(old.columns) == list(new.columns) and list(old.dtypes) == list(new.dtypes)
