"""The feature views of the flights: what was known at each full hour.

``build`` makes every row from landed flights and from three tables of the source whose rows say from when on they are
known: the weather (from the end of its hour), departures (from the minute after), and the register of planes. A row
stamped ``h`` tells only of what was known at ``h``; the outcome of a flight counts from its actual arrival. Stamps are
full hours because that is when the stream reaches the online store: training sees no fresher value than serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from modelyard.features.rolling import Rolling, full_hours

from .source import departures, planes, weather

REGISTER_HOLDS_FROM = pd.Timestamp("2013-01-01", tz="UTC")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")

USUAL = {"late": 0.2, "delay": 5.0}
"""What a window is mixed with, as so many flights (below), lest one late flight be a rate of 100%."""

DELAY_BOUNDS = (-60, 180)
"""Minutes between which a delay counts as it is: one flight of 20 hours says little about the others."""

Windows = Mapping[str, tuple[str, int, float]]
"""feature -> (what is averaged, hours, mixed with so many usual flights)."""

CARRIER: Windows = {"carrier_rate_6h": ("late", 6, 5), "carrier_rate_7d": ("late", 168, 20)}
CARRIER_DEPARTURES: Windows = {"carrier_departure_delay_2h": ("delay", 2, 5)}
ORIGIN: Windows = {"origin_delay_2h": ("delay", 2, 5)}
ORIGIN_DEPARTURES: Windows = {
    "origin_departure_rate_1h": ("late", 1, 5),
    "origin_departure_delay_1h": ("delay", 1, 5),
    "origin_departure_delay_2h": ("delay", 2, 5),
}
NETWORK: Windows = {"network_rate_2h": ("late", 2, 5), "network_delay_2h": ("delay", 2, 5)}
"""Over all flights; every origin's row carries it, so that it costs no look-up of its own."""

ROUTE: Windows = {"route_rate_7d": ("late", 168, 20)}
FLIGHT: Windows = {"flight_rate_28d": ("late", 672, 10), "flight_delay_28d": ("delay", 672, 10)}


def build(rows: pd.DataFrame, after: datetime | None, until: datetime) -> dict[str, pd.DataFrame]:
    """All view rows with ``after < event_timestamp <= until``, by view; ``after`` None: from the first flight on.

    ``rows`` are the landed flights known by ``until``, at least from ``lookback_days`` of model.yaml before ``after``.
    """
    end = pd.Timestamp(until)
    arrivals = _arrivals(rows[rows["known_at"] <= end])
    start = pd.Timestamp(after) if after else arrivals["known_at"].min() - pd.Timedelta(days=1)
    left = _departures(start, end)
    hours = full_hours(start, end)
    return {
        "weather": _weather(start, end),
        "plane": _plane(pd.Timestamp(after) if after else None, end),
        "carrier_recent": _carrier(arrivals, left, hours),
        "origin_recent": _origin(arrivals, left, hours),
        "route_recent": _measure(arrivals, "route", ROUTE, _changes(arrivals, "route", ROUTE, start, end)),
        "flight_recent": _measure(arrivals, "flight", FLIGHT, _changes(arrivals, "flight", FLIGHT, start, end)),
        "plane_recent": _last_arrival(arrivals, start, end),
    }


def _arrivals(rows: pd.DataFrame) -> pd.DataFrame:
    delay, known = rows["arr_delay"].clip(*DELAY_BOUNDS), rows["known_at"].astype("datetime64[us, UTC]")
    return rows.assign(late=rows["delayed"], delay=delay, known_at=known, known_hour=known.dt.ceil("h"), network="all")


def _departures(after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    table = departures()
    first, last = table["known_at"].searchsorted([after - timedelta(hours=3), until], side="right")
    left = table.iloc[first:last]
    return left.assign(late=(left["dep_delay"] > 15).astype("float64"), delay=left["dep_delay"].clip(*DELAY_BOUNDS))


def _carrier(arrivals: pd.DataFrame, left: pd.DataFrame, hours: pd.DatetimeIndex) -> pd.DataFrame:
    grid = _every_hour("carrier", arrivals, hours)
    return _measure(left, "carrier", CARRIER_DEPARTURES, _measure(arrivals, "carrier", CARRIER, grid))


def _origin(arrivals: pd.DataFrame, left: pd.DataFrame, hours: pd.DatetimeIndex) -> pd.DataFrame:
    grid = _every_hour("origin", arrivals, hours)
    grid = _measure(left, "origin", ORIGIN_DEPARTURES, _measure(arrivals, "origin", ORIGIN, grid))
    return _measure(arrivals, "network", NETWORK, grid.assign(network="all")).drop(columns="network")


def _every_hour(entity: str, arrivals: pd.DataFrame, hours: pd.DatetimeIndex) -> pd.DataFrame:
    """A row each hour: for few entities, of which something is new almost always."""
    names = sorted(arrivals[entity].unique())
    return pd.DataFrame({entity: np.tile(names, len(hours)), "event_timestamp": hours.repeat(len(names))})


def _changes(
    arrivals: pd.DataFrame, entity: str, windows: Windows, after: pd.Timestamp, until: pd.Timestamp
) -> pd.DataFrame:
    """A row in the hours in which a flight enters or leaves a window: for many entities, which rest in between."""
    moved = []
    for age in sorted({0, *(hours for _, hours, _ in windows.values())}):
        shift = pd.Timedelta(hours=age)
        now = arrivals[(arrivals["known_hour"] > after - shift) & (arrivals["known_hour"] <= until - shift)]
        moved.append(pd.DataFrame({entity: now[entity], "event_timestamp": now["known_hour"] + shift}))
    stamps = pd.concat(moved).drop_duplicates()
    return stamps.sort_values(["event_timestamp", entity], ignore_index=True)


def _measure(events: pd.DataFrame, entity: str, windows: Windows, grid: pd.DataFrame) -> pd.DataFrame:
    lengths = {hours for _, hours, _ in windows.values()}
    # An hour's stream asks little of four weeks of flights.
    oldest = grid["event_timestamp"].min() - pd.Timedelta(hours=max(lengths))
    seen = events.loc[events["known_at"] > oldest, [entity, "known_at", "late", "delay"]]
    seen = seen[seen[entity].isin(grid[entity].unique())]
    rolling = Rolling(seen[entity], seen["known_at"], seen[["late", "delay"]])
    sums = {
        hours: rolling.over(grid[entity], grid["event_timestamp"], timedelta(hours=hours)) for hours in sorted(lengths)
    }
    means = {
        name: (sums[hours][what] + mixed * USUAL[what]) / (sums[hours]["count"] + mixed)
        for name, (what, hours, mixed) in windows.items()
    }
    return grid.assign(**means)


def _last_arrival(arrivals: pd.DataFrame, after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """The delay with which each plane last arrived, from the full hour after its arrival on."""
    seen = arrivals[(arrivals["known_hour"] > after) & (arrivals["known_hour"] <= until)]
    seen = seen[seen["tailnum"] != "unknown"].sort_values(["known_at", "key"])
    last = seen.drop_duplicates(["tailnum", "known_hour"], keep="last")[["tailnum", "known_hour", "delay"]]
    table = last.rename(columns={"known_hour": "event_timestamp", "delay": "plane_last_delay"})
    return table.sort_values(["event_timestamp", "tailnum"], ignore_index=True)


def _weather(after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    table = weather()
    first, last = table["known_from"].searchsorted([after, until], side="right")
    table = table.iloc[first:last]
    angle = np.deg2rad(table["wind_dir"])
    rows = table[["origin", "known_from", *WEATHER]].rename(columns={"known_from": "event_timestamp"})
    return rows.assign(wind_east=np.sin(angle), wind_north=np.cos(angle)).reset_index(drop=True)


def _plane(after: pd.Timestamp | None, until: pd.Timestamp) -> pd.DataFrame:
    register = planes()
    if until < REGISTER_HOLDS_FROM or (after is not None and after >= REGISTER_HOLDS_FROM):
        register = register.iloc[:0]
    return pd.DataFrame(
        {
            "tailnum": register["tailnum"],
            "event_timestamp": pd.Series(REGISTER_HOLDS_FROM, index=register.index, dtype="datetime64[us, UTC]"),
            "plane_age": (REGISTER_HOLDS_FROM.year - register["year"]).astype("float64"),
            "plane_seats": register["seats"].astype("float64"),
        }
    )
