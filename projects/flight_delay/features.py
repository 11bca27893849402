"""The feature views of the flights: what was known at each full hour.

``build`` makes every row from landed flights, the weather and the register of planes. A row stamped ``h`` tells only of
what was known at ``h``: a flight counts from its actual arrival, the weather of an hour from the hour's end. Stamps are
full hours because that is when the stream reaches the online store: training sees no fresher value than serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from modelyard.features.rolling import Rolling, full_hours

from .source import planes, weather

LOOKBACK = timedelta(days=7)
"""How far back a row of this hour looks; the longest of the windows below."""

REGISTER_HOLDS_FROM = pd.Timestamp("2013-01-01", tz="UTC")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")

USUAL_RATE, USUAL_DELAY = 0.2, 5.0
"""What a window is mixed with, as so many flights (``mixed`` below), lest one late flight be a rate of 100%."""

DELAY_BOUNDS = (-60, 180)
"""Minutes between which a delay counts as it is: one flight of 20 hours says little about the others."""

Windows = Mapping[str, tuple[str, int, float]]
"""feature -> (what is averaged, hours, mixed with so many usual flights)."""

HOURLY: dict[str, tuple[str, Windows]] = {
    "carrier_recent": (
        "carrier",
        {
            "carrier_rate_6h": ("late", 6, 5),
            "carrier_rate_7d": ("late", 168, 20),
            "carrier_delay_6h": ("delay", 6, 5),
        },
    ),
    "origin_recent": (
        "origin",
        {
            "origin_rate_6h": ("late", 6, 5),
            "origin_delay_2h": ("delay", 2, 5),
            "origin_delay_24h": ("delay", 24, 5),
        },
    ),
}
"""Few entities, a row each hour."""

NETWORK: Windows = {
    "network_rate_2h": ("late", 2, 5),
    "network_delay_2h": ("delay", 2, 5),
    "network_delay_6h": ("delay", 6, 5),
}
"""The same over all flights; every origin's row carries it, so that it costs no look-up of its own."""

ON_CHANGE: dict[str, tuple[str, Windows]] = {
    "route_recent": ("route", {"route_rate_7d": ("late", 168, 20)}),
    "dest_recent": ("dest", {"dest_delay_6h": ("delay", 6, 5), "dest_rate_24h": ("late", 24, 5)}),
}
"""Many entities, a row only in the hours in which a flight enters or leaves a window: in between nothing changes."""


def build(rows: pd.DataFrame, after: datetime, until: datetime) -> dict[str, pd.DataFrame]:
    """All view rows with ``after < event_timestamp <= until``, by view.

    ``rows`` are the landed flights known by ``until``, at least from ``LOOKBACK`` before ``after`` on.
    """
    start, end = pd.Timestamp(after), pd.Timestamp(until)
    known = rows[rows["known_at"] <= end]
    flights = known.assign(
        late=known["delayed"],
        delay=known["arr_delay"].clip(*DELAY_BOUNDS),
        known_hour=known["known_at"].dt.ceil("h"),
    )
    hourly = {view: _hourly(flights, entity, windows, start, end) for view, (entity, windows) in HOURLY.items()}
    hourly["origin_recent"] = _with_network(flights, hourly["origin_recent"])
    changes = {view: _on_change(flights, entity, windows, start, end) for view, (entity, windows) in ON_CHANGE.items()}
    return {
        "weather": _weather(start, end),
        "plane": _plane(start, end),
        **hourly,
        **changes,
        "plane_recent": _plane_recent(flights, start, end),
    }


def _hourly(
    flights: pd.DataFrame, entity: str, windows: Windows, after: pd.Timestamp, until: pd.Timestamp
) -> pd.DataFrame:
    hours, names = full_hours(after, until), sorted(flights[entity].unique())
    grid = pd.DataFrame({entity: np.tile(names, len(hours)), "event_timestamp": hours.repeat(len(names))})
    return _measure(flights, entity, windows, grid)


def _with_network(flights: pd.DataFrame, grid: pd.DataFrame) -> pd.DataFrame:
    measured = _measure(flights.assign(network="all"), "network", NETWORK, grid.assign(network="all"))
    return measured.drop(columns="network")


def _on_change(
    flights: pd.DataFrame, entity: str, windows: Windows, after: pd.Timestamp, until: pd.Timestamp
) -> pd.DataFrame:
    lengths = {0, *(hours for _, hours, _ in windows.values())}
    stamps = pd.concat(
        [
            pd.DataFrame(
                {entity: flights[entity], "event_timestamp": flights["known_hour"] + pd.Timedelta(hours=hours)}
            )
            for hours in sorted(lengths)
        ]
    )
    stamps = stamps[(stamps["event_timestamp"] > after) & (stamps["event_timestamp"] <= until)]
    grid = stamps.drop_duplicates().sort_values(["event_timestamp", entity], ignore_index=True)
    return _measure(flights, entity, windows, grid)


def _measure(flights: pd.DataFrame, entity: str, windows: Windows, grid: pd.DataFrame) -> pd.DataFrame:
    events = Rolling(flights[entity], flights["known_at"], flights[["late", "delay"]])
    usual = {"late": USUAL_RATE, "delay": USUAL_DELAY}
    sums = {
        hours: events.over(grid[entity], grid["event_timestamp"], timedelta(hours=hours))
        for hours in {hours for _, hours, _ in windows.values()}
    }
    means = {
        name: (sums[hours][what] + mixed * usual[what]) / (sums[hours]["count"] + mixed)
        for name, (what, hours, mixed) in windows.items()
    }
    return grid.assign(**means)


def _plane_recent(flights: pd.DataFrame, after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """The delay with which each plane last arrived, from the full hour after its arrival on."""
    seen = flights[(flights["known_hour"] > after) & (flights["known_hour"] <= until)]
    seen = seen[seen["tailnum"] != "unknown"].sort_values(["known_at", "key"])
    last = seen.drop_duplicates(["tailnum", "known_hour"], keep="last")
    table = last[["tailnum", "known_hour", "delay"]].set_axis(
        ["tailnum", "event_timestamp", "plane_last_delay"], axis=1
    )
    return table.sort_values(["event_timestamp", "tailnum"], ignore_index=True)


def _weather(after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    table = weather()
    table = table[(table["known_from"] > after) & (table["known_from"] <= until)]
    angle = np.deg2rad(table["wind_dir"])
    rows = table[["origin", "known_from", *WEATHER]].rename(columns={"known_from": "event_timestamp"})
    rows = rows.assign(wind_east=np.sin(angle), wind_north=np.cos(angle))
    return rows.drop_duplicates(["origin", "event_timestamp"], keep="last").reset_index(drop=True)


def _plane(after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    register = planes()
    if not after < REGISTER_HOLDS_FROM <= until:
        register = register.iloc[:0]
    return pd.DataFrame(
        {
            "tailnum": register["tailnum"],
            "event_timestamp": pd.Series(REGISTER_HOLDS_FROM, index=register.index, dtype="datetime64[us, UTC]"),
            "plane_age": (REGISTER_HOLDS_FROM.year - register["year"]).astype("float64"),
            "plane_seats": register["seats"].astype("float64"),
        }
    )
