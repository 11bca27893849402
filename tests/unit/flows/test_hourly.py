"""An hour is counted once; late rows, duplicates, jumping clocks and broken files have one answer each."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modelyard.core.profile import Profile
from modelyard.core.window import Window
from modelyard.drift.counts import count
from modelyard.drift.edges import fit_profile
from modelyard.flows import hourly
from modelyard.flows.hourly import HourCounts, window_profile

START = datetime(2013, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = Window(start=START, end=START + 6 * HOUR)


def log(n: int = 600, seed: int = 0, start: datetime = START, length: timedelta = 6 * HOUR) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = pd.DatetimeIndex([start + length * i / n for i in range(n)], tz="UTC").as_unit("us")
    rows = {"temp": rng.normal(size=n), "carrier": rng.choice(["UA", "AA"], n), "event_time": times}
    return pd.DataFrame(rows | {"request_id": [f"{seed}-{i}" for i in range(n)]})


@pytest.fixture(scope="module")
def reference() -> Profile:
    return fit_profile(log(1000, 9), numeric=["temp"], categorical=["carrier"])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every count that is really made."""
    sizes: list[int] = []

    def counting(reference: Profile, frame: pd.DataFrame) -> Profile:
        sizes.append(len(frame))
        return count(reference, frame)

    monkeypatch.setattr(hourly, "count", counting)
    return sizes


def test_a_window_is_the_merge_of_its_hours(reference: Profile, tmp_path: Path) -> None:
    found = window_profile(tmp_path, reference, log(), WINDOW)
    assert found.profile == count(reference, log())
    assert found.fresh == tuple(START + i * HOUR for i in range(6))
    assert found.again == ()


def test_an_hour_is_counted_once_whatever_the_window(reference: Profile, tmp_path: Path, counted: list[int]) -> None:
    window_profile(tmp_path, reference, log(), WINDOW)
    assert counted == [100] * 6
    later = pd.concat([log(), log(100, 1, WINDOW.end, HOUR)])
    moved = Window(start=START + HOUR, end=WINDOW.end + HOUR)
    found = window_profile(tmp_path, reference, later, moved)
    assert counted == [100] * 7
    assert found.fresh == (WINDOW.end,)
    assert found.profile == count(reference, later[later.event_time >= moved.start])


def test_the_order_of_rows_is_no_change(reference: Profile, tmp_path: Path, counted: list[int]) -> None:
    window_profile(tmp_path, reference, log(), WINDOW)
    found = window_profile(tmp_path, reference, log().sample(frac=1, random_state=0), WINDOW)
    assert (len(counted), found.again) == (6, ())


def test_late_rows_count_their_hour_again_and_it_is_said(
    reference: Profile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    window_profile(tmp_path, reference, log(), WINDOW)
    late = pd.concat([log(), log(5, 2, START + 2 * HOUR, HOUR)])
    with caplog.at_level(logging.WARNING):
        found = window_profile(tmp_path, reference, late, WINDOW)
    assert found.again == (START + 2 * HOUR,)
    assert "2013-05-01T02" in caplog.text
    assert found.profile == count(reference, late)
    (kept,) = [HourCounts.from_json(f.read_bytes()) for f in tmp_path.glob("*/2013-05-01T02.json")]
    assert (kept.revision, kept.n) == (1, 105)
    assert window_profile(tmp_path, reference, late, WINDOW).again == ()


def test_rows_that_are_gone_are_not_counted(reference: Profile, tmp_path: Path) -> None:
    window_profile(tmp_path, reference, log(), WINDOW)
    fewer = log().iloc[100:590]
    assert window_profile(tmp_path, reference, fewer, WINDOW).profile == count(reference, fewer)


def test_an_hour_that_is_there_twice_counts_once(reference: Profile, tmp_path: Path) -> None:
    twice = pd.concat([log(), log().iloc[:100]])
    assert window_profile(tmp_path, reference, twice, WINDOW).profile == count(reference, log())


def test_a_clock_that_jumps_moves_no_row_and_loses_none(reference: Profile, tmp_path: Path) -> None:
    """Back: rows of an hour already profiled. Forward: rows that wait until a window reaches them."""
    window_profile(tmp_path, reference, log(), WINDOW)
    back, ahead = log(50, 3, START, HOUR), log(50, 4, WINDOW.end + 30 * HOUR, HOUR)
    jumped = pd.concat([log(), back, ahead])
    found = window_profile(tmp_path, reference, jumped, WINDOW)
    assert (found.profile.n, found.again) == (650, (START,))
    reached = Window(start=START, end=WINDOW.end + 31 * HOUR)
    assert window_profile(tmp_path, reference, jumped, reached).profile == count(reference, jumped)


def test_an_hour_covered_in_part_is_not_kept(reference: Profile, tmp_path: Path) -> None:
    part = Window(start=START + HOUR / 2, end=START + 2 * HOUR + HOUR / 4)
    found = window_profile(tmp_path, reference, log(), part)
    rows = log()
    assert found.profile == count(reference, rows[(rows.event_time >= part.start) & (rows.event_time < part.end)])
    assert found.fresh == (START + HOUR,)
    assert window_profile(tmp_path, reference, log(), WINDOW).profile == count(reference, log())


def test_no_rows_are_no_evidence(reference: Profile, tmp_path: Path) -> None:
    assert window_profile(tmp_path, reference, log().iloc[:0], WINDOW).profile == reference.empty()


def test_bins_of_another_version_are_counted_apart(reference: Profile, tmp_path: Path) -> None:
    other = fit_profile(log(1000, 8), numeric=["temp"], categorical=["carrier"])
    window_profile(tmp_path, reference, log(), WINDOW)
    assert window_profile(tmp_path, other, log(), WINDOW).profile == count(other, log())
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"hour": 1}'])
def test_a_broken_file_is_counted_anew(
    reference: Profile, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    window_profile(tmp_path, reference, log(), WINDOW)
    (file,) = tmp_path.glob("*/2013-05-01T03.json")
    file.write_text(content)
    found = window_profile(tmp_path, reference, log(), WINDOW)
    assert found.profile == count(reference, log())
    assert (found.fresh, found.again) == ((START + 3 * HOUR,), ())
    assert "counted anew" in caplog.text


def test_a_file_with_counts_that_do_not_add_up_is_counted_anew(reference: Profile, tmp_path: Path) -> None:
    window_profile(tmp_path, reference, log(), WINDOW)
    (file,) = tmp_path.glob("*/2013-05-01T03.json")
    kept = HourCounts.from_json(file.read_bytes())
    file.write_text(kept.model_copy(update={"n": kept.n + 1}).to_json())
    assert window_profile(tmp_path, reference, log(), WINDOW).profile == count(reference, log())


def test_rows_of_one_request_all_count(reference: Profile, tmp_path: Path) -> None:
    """A client may give a batch one id: its rows differ by key, and none of them is another's copy."""
    rows = log().assign(request_id="batch", key=[f"k{i}" for i in range(600)])
    assert window_profile(tmp_path, reference, pd.concat([rows, rows.iloc[:50]]), WINDOW).profile == count(
        reference, rows
    )
    fewer = window_profile(tmp_path, reference, rows.iloc[:590], WINDOW)
    assert (fewer.profile.n, len(fewer.again)) == (590, 1)
