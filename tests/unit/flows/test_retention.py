"""What is removed can be made again, and what somebody may compare with is never removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.flows.retention import clean

NOW = datetime(2024, 6, 1, tzinfo=UTC)
BINS = "0123456789abcdef"


def release(name: str, days_old: int) -> Any:
    return SimpleNamespace(as_of=NOW - timedelta(days=days_old), parts={"training_frame": f"sha256:{name}"})


@pytest.fixture
def platform(tmp_path: Path) -> Any:
    for place in ("features/m/frames", f"profiles/m/{BINS}", "profiles/m/first-week"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("champion", "previous", "old", "shared", "new", "unnamed"):
        (tmp_path / "features/m/frames" / f"{name}.parquet").write_bytes(b"x" * 100)
    for name in ("2024-01-01T00", "2024-04-30T23", "2024-05-01T00"):
        (tmp_path / "profiles/m" / BINS / f"{name}.json").write_text("{}")
    (tmp_path / "profiles/m/first-week" / "abc.json").write_text("{}")
    champion, previous = release("champion", 90), release("previous", 120)
    made = [previous, champion, release("old", 100), release("shared", 100), release("shared", 2), release("new", 80)]
    releases = SimpleNamespace(
        champion=lambda _: champion, previous=lambda _: previous, history=lambda _: [(r, "ready") for r in made]
    )
    return SimpleNamespace(settings=SimpleNamespace(home=tmp_path), ledger=SimpleNamespace(releases=releases))


def left(platform: Any) -> set[str]:
    return {path.stem for path in platform.settings.home.rglob("*") if path.is_file()}


def test_old_hours_and_frames_go_and_nothing_else(platform: Any) -> None:
    before, moment = left(platform), NOW - timedelta(days=31)
    told = clean(platform, "m", moment, dry_run=True)
    assert left(platform) == before
    assert (told.profiles, told.frames, told.bytes) == (2, 1, 104)
    assert clean(platform, "m", moment) == told
    assert before - left(platform) == {"2024-01-01T00", "2024-04-30T23", "old"}
    assert clean(platform, "m", moment).profiles == 0


def test_what_was_trained_since_the_champion_stays_and_without_one_all(platform: Any) -> None:
    assert clean(platform, "m", NOW, dry_run=True).frames == 1
    platform.ledger.releases.champion = lambda _: None
    assert clean(platform, "m", NOW, dry_run=True).frames == 0


def test_without_a_champion_or_any_file_nothing_is_removed(platform: Any, tmp_path: Path) -> None:
    platform.settings.home = tmp_path / "empty"
    platform.ledger.releases.champion = platform.ledger.releases.previous = lambda _: None
    assert clean(platform, "m", NOW).bytes == 0
