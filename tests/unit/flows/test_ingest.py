"""What the source has released lands; an outcome slower than model.yaml says stops the ingest instead of being lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from fixtures.tiny_project import MODEL, WINDOW, rows, write_tiny

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError, Conflict
from modelyard.core.records import AuditEvent
from modelyard.data.source import landing_zone
from modelyard.flows.ingest import catch_up, ingest, require_in_source, reset


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


def landed(here: Here) -> pd.DataFrame:
    return landing_zone(load_project(MODEL, here.settings), here.settings).read(None, WINDOW.end + timedelta(days=30))


def test_rows_that_were_mended_in_a_file_or_added_late_land_too(tmp_path: Path) -> None:
    frame = rows(200)
    here = with_slow_outcome(tmp_path, 1)
    assert catch_up(here, MODEL, WINDOW.end + timedelta(days=9)) == 200
    assert catch_up(here, MODEL, WINDOW.end + timedelta(days=9)) == 0
    late = frame.iloc[[3]].assign(key="late")
    changed = pd.concat([frame, late], ignore_index=True)
    changed.loc[5, "late"] = 1 - changed.loc[5, "late"]
    write_tiny(tmp_path, changed)
    assert catch_up(here, MODEL, WINDOW.end + timedelta(days=9)) >= 2
    found = landed(here).set_index("key")
    assert "late" in found.index
    assert found.loc[frame.loc[5, "key"], "late"] == changed.loc[5, "late"]


def test_a_file_that_was_replaced_is_not_trained_on_for_what_it_held_before(tmp_path: Path) -> None:
    here = with_slow_outcome(tmp_path, 1)
    catch_up(here, MODEL, WINDOW.end + timedelta(days=9))
    project = load_project(MODEL, here.settings)
    require_in_source(project, landed(here))
    write_tiny(tmp_path, rows(200).assign(key=lambda f: "own-" + f["key"]))
    with pytest.raises(Conflict, match=r"200 of 200 landed rows .*`modelyard data reset"):
        require_in_source(project, landed(here))
    said: list[AuditEvent] = []
    whole = SimpleNamespace(settings=here.settings, ledger=SimpleNamespace(journal=SimpleNamespace(audit=said.append)))
    kept = reset(whole, MODEL, "ann", datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    assert kept is not None
    assert list(kept.glob("day=*.parquet"))
    assert (said[0].actor, said[0].action) == ("ann", "data.reset")
    assert reset(whole, MODEL, "ann", datetime(2026, 1, 1, tzinfo=UTC)) is None  # type: ignore[arg-type]
    catch_up(here, MODEL, WINDOW.end + timedelta(days=9))
    assert landed(here)["key"].str.startswith("own-").all()
    require_in_source(project, landed(here))
