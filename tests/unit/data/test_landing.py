"""The landing zone keeps rows by the day they became known; a past moment can be seen again as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from modelyard.core.window import Window
from modelyard.data.landing import LandingZone


def row(key: str, asked: str, known: str, x: float = 0.0) -> dict[str, object]:
    return {"key": key, "asked": pd.Timestamp(asked, tz="UTC"), "known": pd.Timestamp(known, tz="UTC"), "x": x}


ROWS = pd.DataFrame(
    [
        row("a", "2013-01-01 22:00", "2013-01-02 00:00"),
        row("b", "2013-01-01 21:00", "2013-01-01 23:59:59"),
        row("c", "2013-01-02 10:00", "2013-01-02 13:00"),
    ]
)


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    return LandingZone(tmp_path / "toy", key="key", event_time="asked", known_at="known")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_rows_lie_under_the_day_they_became_known(zone: LandingZone) -> None:
    assert zone.add(ROWS) == 3
    assert [str(day) for day in zone.days()] == ["2013-01-01", "2013-01-02"]
    assert zone.newest() == at("2013-01-02T13:00")


def test_landing_twice_changes_nothing(zone: LandingZone) -> None:
    zone.add(ROWS)
    version = zone.version()
    assert zone.add(ROWS.iloc[::-1]) == 0
    assert zone.version() == version


def test_a_correction_replaces_its_row(zone: LandingZone) -> None:
    zone.add(ROWS)
    assert zone.add(ROWS.assign(x=[0.0, 0.0, 5.0])) == 1
    assert zone.read(None, at("2014-01-01"))["x"].tolist() == [0.0, 0.0, 5.0]


def test_a_correction_known_on_another_day_is_the_only_row_of_its_key_from_then_on(zone: LandingZone) -> None:
    zone.add(ROWS)
    corrected = pd.DataFrame([row("b", "2013-01-01 21:00", "2013-01-04 08:00", x=7.0)])
    for _ in range(2):
        zone.add(corrected)
        zone.add(ROWS)  # the source's old hours once more bring nothing back
    window = Window(start=at("2013-01-01"), end=at("2013-01-03"))
    now = zone.snapshot(window, at("2013-01-05")).set_index("key")["x"]
    assert now.to_dict() == {"a": 0.0, "b": 7.0, "c": 0.0}
    before = zone.snapshot(window, at("2013-01-04")).set_index("key")["x"]
    assert before.to_dict() == {"a": 0.0, "b": 0.0, "c": 0.0}
    assert zone.read(None, at("2013-01-05"))["key"].tolist() == ["a", "c", "b"]


def test_reading_takes_what_became_known_after_and_until(zone: LandingZone) -> None:
    zone.add(ROWS)
    assert zone.read(at("2013-01-01T23:59:59"), at("2013-01-02"))["key"].tolist() == ["a"]
    assert zone.read(None, at("2013-01-02"))["key"].tolist() == ["b", "a"]
    assert zone.read(at("2013-01-03"), at("2013-01-04")).empty


def test_a_snapshot_has_what_was_asked_in_the_window_and_known_by_then(zone: LandingZone) -> None:
    zone.add(ROWS)
    window = Window(start=at("2013-01-01T21:00"), end=at("2013-01-02T10:00"))
    assert set(zone.snapshot(window, at("2013-01-05"))["key"]) == {"a", "b"}
    assert set(zone.snapshot(window, at("2013-01-01T23:59:59"))["key"]) == {"b"}
    assert zone.snapshot(window, at("2013-01-01T21:30")).empty


def test_a_row_whose_outcome_is_unknown_cannot_land(zone: LandingZone) -> None:
    with pytest.raises(ValueError, match="1 lack it"):
        zone.add(ROWS.assign(known=[pd.NaT, *ROWS["known"][1:]]))


def test_nothing_landed_is_empty(zone: LandingZone) -> None:
    assert zone.read(None, at("2014-01-01")).empty
    assert zone.newest() is None
    assert zone.add(ROWS.iloc[:0]) == 0
