"""What the source has released lands; an outcome slower than model.yaml says stops the ingest instead of being lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.tiny_project import MODEL, WINDOW, rows, write_tiny

from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.flows.ingest import catch_up, ingest


@dataclass
class Here:
    """All that an ingest asks of a platform."""

    settings: Settings


def with_slow_outcome(root: Path, days: float) -> Here:
    frame = rows(200)
    frame.loc[100, "known_at"] = frame.loc[100, "asked_at"] + timedelta(days=days)
    settings = write_tiny(root, frame)
    return Here(settings.model_copy(update={"home": root / "home"}))


def test_an_outcome_within_settles_days_lands(tmp_path: Path) -> None:
    assert (
        ingest(
            with_slow_outcome(tmp_path, 6.9), MODEL, datetime(1970, 1, 1, tzinfo=UTC), WINDOW.end + timedelta(days=1)
        )
        == 200
    )


def test_a_slower_one_stops_the_first_ingest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settles_days = 7 .*8 or more: the outcome of r00100"):
        catch_up(with_slow_outcome(tmp_path, 7.5), MODEL, WINDOW.end)


def test_and_a_later_one_that_comes_hour_by_hour(tmp_path: Path) -> None:
    here = with_slow_outcome(tmp_path, 7.5)
    known = rows(200).loc[100, "asked_at"] + timedelta(days=7.5)
    hour = known.floor("h").to_pydatetime()
    assert ingest(here, MODEL, hour - timedelta(hours=20), hour) > 0
    with pytest.raises(ConfigError, match="settles_days"):
        ingest(here, MODEL, hour, hour + timedelta(hours=1))
