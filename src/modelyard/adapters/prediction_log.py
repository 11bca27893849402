"""The prediction log's reading end: Parquet files of all replicas, joined with outcomes by DuckDB.

See ``serving.log`` for the layout. Nothing is ever changed in place, so a reader sees whole files only. What became
known more than a day before the first prediction that is read was not an outcome of any of them, and is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modelyard.adapters.log_compaction import MERGED
from modelyard.core.errors import IntegrityError
from modelyard.core.window import Window
from modelyard.ports.fleet import Trip
from modelyard.ports.predictions import REPORTED, HourUse, ReplicaUse

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_FAR = datetime.fromisoformat("9999-01-01T00:00:00+00:00")

# An outcome is for one request, or for all requests of a key; the last one counts, and a later arrival breaks a tie.
# A row that was logged twice (the edge's second try, a log that was recovered after a kill) counts once, with the other
# version's score where there is one. Rows of different keys may share an id that a client gave them.
_JOIN = """
WITH labels AS (
    SELECT * FROM {feedback} WHERE known_at <= $as_of
), by_key AS (
    SELECT key, arg_max(label, (known_at, received_at)) AS label, max(known_at) AS label_at
    FROM labels WHERE key IS NOT NULL GROUP BY key
), by_request AS (
    SELECT request_id, arg_max(label, (known_at, received_at)) AS label, max(known_at) AS label_at
    FROM labels WHERE request_id IS NOT NULL GROUP BY request_id
), requests AS (
    SELECT * FROM {predictions} WHERE event_time >= $start AND event_time < $end
    QUALIFY row_number() OVER (PARTITION BY request_id, key ORDER BY isnan(other_score), served_at) = 1
)
SELECT r.* EXCLUDE (_file), {replica} AS replica,
       coalesce(q.label, k.label, 'nan'::DOUBLE) AS label,
       CASE WHEN q.label IS NOT NULL THEN q.label_at ELSE k.label_at END AS label_at
FROM requests r
LEFT JOIN by_key k ON r.key = k.key
LEFT JOIN by_request q ON r.request_id = q.request_id
ORDER BY r.event_time, r.request_id
"""
# As with labels: of one request before those of its key, the last one known of each.
_NUMBERS_REPORTED = """
SELECT key, request_id, name, arg_max(value, (known_at, received_at)) AS value
FROM {numbers} WHERE known_at <= $as_of GROUP BY key, request_id, name
"""
_HAS_REQUEST = """
SELECT DISTINCT _file FROM {predictions}
WHERE request_id = $request OR starts_with(request_id, $request || '.') ORDER BY _file
"""
_NO_FEEDBACK = (
    "(SELECT NULL::VARCHAR AS key, NULL::VARCHAR AS request_id, NULL::DOUBLE AS label, "
    "NULL::TIMESTAMPTZ AS known_at, NULL::TIMESTAMPTZ AS received_at WHERE false)"
)
_ALWAYS = ("request_id", "key", "event_time", "served_at", "variant", "version", "release", "rollout", "generation")
# Each file is named by the replica that wrote it: <replica>-<start>-<number>~<rollout>.parquet.
_REPLICA = r"regexp_extract(r._file, '([^/]+)-[0-9a-f]{8}-[0-9]{8}~[^/]*[.]parquet$', 1)"
_MOMENTS = ("event_time", "served_at", "label_at")
_NUMBERS = ("score", "other_score", "latency_ms", "label")


class ParquetPredictions:
    """``ports.predictions.Predictions``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def joined(self, model: str, window: Window, as_of: datetime) -> pd.DataFrame:
        """Requests of the window with the labels known by ``as_of``."""
        return _steady(lambda: self._joined(model, window, as_of))

    def _joined(self, model: str, window: Window, as_of: datetime) -> pd.DataFrame:
        days = {day.start.date().isoformat() for day in window.split(timedelta(days=1))} | {
            window.end.date().isoformat()
        }
        files = [
            file
            for folder in sorted((self._root / model / "predictions").glob("date=*"))
            if folder.name.removeprefix("date=") in days
            for file in _listed(folder, "*.parquet")
        ]
        return self._query(model, files, window.start, window.end, as_of)

    def rollout(self, model: str, rollout: str) -> pd.DataFrame:
        """Requests served under a rollout, with all labels received so far."""
        return _steady(lambda: self._of_rollout(model, rollout))

    def _of_rollout(self, model: str, rollout: str) -> pd.DataFrame:
        files = _listed(self._root / model / "predictions", f"date=*/*~{rollout}.parquet")
        return self._query(model, files, datetime.fromisoformat("0001-01-02T00:00:00+00:00"), _FAR, _FAR)

    def request(self, model: str, request: str) -> pd.DataFrame:
        """The rows of a request."""
        return _steady(lambda: self._of_request(model, request))

    def _of_request(self, model: str, request: str) -> pd.DataFrame:
        files = sorted((self._root / model / "predictions").glob("date=*/*.parquet"))
        if not files:
            return _empty()
        # The files that have it first: of most, Parquet's statistics and one column are read.
        query = _HAS_REQUEST.format(predictions=_files(files, named=True))
        holding = [Path(file) for (file,) in _run(query, {"request": request}).fetchall()]
        frame = self._query(model, holding, datetime.fromisoformat("0001-01-02T00:00:00+00:00"), _FAR, _FAR)
        own = re.compile(re.escape(request) + r"(\.[0-9]+)?")
        asked = frame["request_id"].map(lambda found: own.fullmatch(found) is not None).astype(bool)
        return frame[asked].reset_index(drop=True)

    def trips(self, model: str, rollout: str) -> tuple[Trip, ...]:
        """The trips on record."""
        found = []
        for path in sorted((self._root / model / "events").glob("*.json")):
            if path.stem.endswith(f"~{rollout}"):
                try:
                    found.append(Trip.from_json(path.read_bytes()))
                except ValueError as error:
                    raise IntegrityError(f"{path} is no record of a trip: {error}") from error
        return tuple(sorted(found, key=lambda trip: trip.at))

    def usage(self, model: str, window: Window) -> tuple[HourUse, ...]:
        """What replicas counted of the window's whole hours."""
        found: list[HourUse] = []
        first, last = window.start.astimezone(UTC).date(), window.end.astimezone(UTC).date()
        for path in sorted((self._root / model / "usage").glob("date=*/*.json")):
            if first <= _date(path) <= last:
                try:
                    found += ReplicaUse.from_json(path.read_bytes()).hours
                except ValueError as error:
                    raise IntegrityError(f"{path} holds no counts of a replica: {error}") from error
        whole = (h for h in found if window.start <= h.hour and h.hour + timedelta(hours=1) <= window.end)
        return tuple(sorted(whole, key=lambda h: h.hour))

    def newest(self, model: str) -> datetime | None:
        """The newest event time in the log."""
        return _steady(lambda: self._newest(model))

    def _newest(self, model: str) -> datetime | None:
        folders = sorted((self._root / model / "predictions").glob("date=*"), reverse=True)
        for folder in folders:
            if files := _listed(folder, "*.parquet"):
                row = _run(f"SELECT epoch_us(max(event_time)) FROM {_files(files)}", {}).fetchone()  # noqa: S608
                return datetime.fromtimestamp(row[0] / 1e6, tz=UTC)
        return None

    def _with_numbers(self, frame: pd.DataFrame, files: list[Path], as_of: datetime) -> pd.DataFrame:
        """A column ``feedback.<name>`` for each number that was reported; NaN where none was, for this row."""
        if not files:
            return frame
        found: pd.DataFrame = _run(_NUMBERS_REPORTED.format(numbers=_files(files)), {"as_of": as_of}).df()
        for name, reported in found.groupby("name"):
            by = {c: reported[reported[c].notna()].set_index(c)["value"] for c in ("request_id", "key")}
            values = frame["request_id"].map(by["request_id"]).fillna(frame["key"].map(by["key"]))
            frame[f"{REPORTED}{name}"] = values.astype(float)
        return frame

    def _reported(self, model: str, kind: str, first: date, last: date) -> list[Path]:
        """The files of outcomes that became known on these days (UTC): a year of them is not read for a day's look."""
        files = _listed(self._root / model / kind, "date=*/*.parquet")
        return [file for file in files if first <= _date(file) <= last]

    def _query(self, model: str, files: list[Path], start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
        if not files:
            return _empty()
        # An outcome is known after it was asked for. A day's margin is for clocks that differ.
        first = min(_date(file) for file in files) - timedelta(days=1)
        last = as_of.astimezone(UTC).date()
        labels = self._reported(model, "feedback", first, last)
        feedback = _files(labels) if labels else _NO_FEEDBACK
        query = _JOIN.format(predictions=_files(files, named=True), feedback=feedback, replica=_REPLICA)
        frame: pd.DataFrame = _run(query, {"start": start, "end": end, "as_of": as_of}).df()
        frame = self._with_numbers(frame, self._reported(model, "numbers", first, last), as_of)
        for name in _MOMENTS:
            frame[name] = frame[name].dt.tz_convert("UTC").astype("datetime64[us, UTC]")
        return frame


def _listed(folder: Path, pattern: str) -> list[Path]:
    """The files there are, in order; the same rows whatever is merged meanwhile (``log_compaction``).

    Listing takes time: a file that is removed while it lasts may be left out, and the merged one, which was there
    before, not be met either. So it is repeated until the next listing shows no merged file that was not met.
    """
    found, again = set(folder.glob(pattern)), set(folder.glob(pattern))
    while any(MERGED in file.name for file in again - found):
        found, again = again, set(folder.glob(pattern))
    return sorted(found)


def _date(file: Path) -> date:
    """The day of the folder that a file of the log lies in: of the event, or of becoming known."""
    return date.fromisoformat(file.parent.name.removeprefix("date="))


def _steady(read: Callable[[], T]) -> T:
    """What is read; once more when files were merged into others (``log_compaction``) between listing and reading."""
    import duckdb

    for _ in range(4):
        try:
            return read()
        except duckdb.IOException:
            continue
    return read()


def _run(query: str, values: dict[str, Any]) -> Any:
    import duckdb

    # The ICU extension, which sets time zones, would be fetched from the network; it is not needed.
    offline = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config={**offline, "threads": 2})
    return connection.execute(query, values)


def _files(files: list[Path], *, named: bool = False) -> str:
    """A table of the files; versions may have different features. ``named``: with each row's file as ``_file``."""
    names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    more = ", filename = '_file'" if named else ""
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false{more})"


def _empty() -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({name: pd.Series(dtype=object) for name in (*_ALWAYS, "error", "replica")})
    frame = frame.assign(**{name: pd.Series(dtype=float) for name in _NUMBERS})
    return frame.assign(**{n: pd.Series(dtype="datetime64[us, UTC]") for n in _MOMENTS})
