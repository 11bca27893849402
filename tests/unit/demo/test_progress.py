"""What a person reads while the demo runs, and how long its stages have taken over all its runs."""

from __future__ import annotations

import json
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from modelyard.demo.kept import StageTimes
from modelyard.demo.progress import Progress


class Watch:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def progress(home: Path, watch: Watch, *, terminal: bool = False) -> tuple[Progress, StringIO]:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=80)
    return Progress(console, StageTimes(home, console.print), clock=watch), out


def test_without_a_terminal_one_event_is_one_line_however_long(tmp_path: Path) -> None:
    told, out = progress(tmp_path, Watch())
    with told.stage("data", "title " * 30):
        told.say("word " * 100)
        told.now("state " * 100)
    assert len(out.getvalue().splitlines()) == 4


def test_without_a_terminal_only_changes_are_told_and_not_each_second(tmp_path: Path) -> None:
    watch = Watch()
    told, out = progress(tmp_path, watch)
    with told.stage("drift", "Drift"):
        for second in range(100):
            watch.now = float(second)
            told.now(f"{'train' if second < 42 else 'gate'} running | {second:,} requests")
    lines = [line.strip() for line in out.getvalue().splitlines()[1:-1]]
    assert lines == ["train running | 0 requests", "gate running | 42 requests"]


def test_a_change_right_after_another_is_told_when_its_time_has_come(tmp_path: Path) -> None:
    watch = Watch()
    told, out = progress(tmp_path, watch)
    for second, what in ((0, "a"), (1, "b"), (2, "c"), (9.9, "c"), (10, "c"), (200, "c")):
        watch.now = second
        told.now(what)
    assert out.getvalue().split() == ["a", "c"]


def test_figures_alone_are_a_sign_of_life_once_a_minute(tmp_path: Path) -> None:
    watch = Watch()
    told, out = progress(tmp_path, watch)
    for second in range(130):
        watch.now = float(second)
        told.now(f"waiting | {second}")
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["0", "60", "120"]


def test_a_terminal_shows_what_is_said(tmp_path: Path) -> None:
    told, out = progress(tmp_path, Watch(), terminal=True)
    with told.stage("data", "Flights land"):
        told.now("a | 1")
        told.say("kept")
    assert "kept" in out.getvalue()


def test_stages_keep_their_seconds_over_runs_and_an_interrupted_one_adds(tmp_path: Path) -> None:
    watch = Watch()
    told, _ = progress(tmp_path, watch)
    with told.stage("data", "Data"):
        watch.now += 20
    with suppress(KeyboardInterrupt), told.stage("drift", "Drift"):
        watch.now += 30
        raise KeyboardInterrupt
    again, out = progress(tmp_path, watch)
    with again.stage("data", "Data"):
        watch.now += 1
    with again.stage("drift", "Drift"):
        watch.now += 12
    assert again.seconds == {"data": 20.0, "drift": 42.0}
    assert sum(again.seconds.values()) == 62.0
    assert "done in 12.0 s (42.0 s with earlier runs)" in out.getvalue()
    assert progress(tmp_path, watch)[0].seconds == again.seconds


def test_a_stage_that_had_ended_and_really_runs_again_counts_again(tmp_path: Path) -> None:
    watch = Watch()
    told, _ = progress(tmp_path, watch)
    with told.stage("training", "Training"):
        watch.now += 20
    again, _ = progress(tmp_path, watch)
    with again.stage("training", "Training"):
        watch.now += 30
        again.now("m__retrain: train running")
        watch.now += 2
    with again.stage("training", "Training"):
        watch.now += 1
    assert again.seconds == {"training": 52.0}
    assert progress(tmp_path, watch)[0].seconds == again.seconds


def test_a_killed_run_loses_seconds_at_most(tmp_path: Path) -> None:
    watch = Watch()
    told, _ = progress(tmp_path, watch)
    stage = told.stage("drift", "Drift")
    stage.__enter__()
    for second in range(1, 100):
        watch.now = float(second)
        told.now("waiting")
    after_the_kill = StageTimes(tmp_path, print)
    assert 94 <= after_the_kill.seconds["drift"] <= 99


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"stages": {"data": {"seconds": "x", "ended": true}}}',
             '{"stages": {"data": {"seconds": -1, "ended": true}}}']
)  # fmt: skip
def test_damaged_times_start_over_and_say_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "demo" / "times.json"
    path.parent.mkdir()
    path.write_text(text)
    said: list[str] = []
    times = StageTimes(tmp_path, said.append)
    assert times.seconds == {}
    assert len(said) == 1
    assert "damaged" in said[0]
    assert (tmp_path / "demo" / "times.json.damaged").read_text() == text
    times.add("data", 1.0, ended=True)
    assert json.loads(path.read_text()) == {"stages": {"data": {"seconds": 1.0, "ended": True}}}


def test_a_start_that_is_refused_makes_no_home(tmp_path: Path) -> None:
    StageTimes(tmp_path / "home", print).add("services", 1.0, ended=False)
    assert not (tmp_path / "home").exists()
