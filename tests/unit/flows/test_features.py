"""Features are made without rows that break the contract: the same ones offline, streamed, and at any moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from modelyard.config.settings import Settings
from modelyard.core.errors import EvidenceMissing
from modelyard.data.source import landing_zone
from modelyard.flows import features

START, HOUR = datetime(2024, 3, 1, tzinfo=UTC), timedelta(hours=1)
MODEL_YAML = """
name: sales
description: d
owner: o
source: {loader: "f:read", event_time: event_time, known_at: known_at, key: key, settles_days: 1}
label: {column: bought, depends_on_answer: true}
entities: {shop: shop}
feature_views: {recent: {entity: shop, ttl_hours: 3}}
features: {mean: {kind: numeric, from: recent, nullable: true}}
feature_builder: "f:build"
lookback_days: 2
"""
BUILDER = """
import pandas as pd

def build(rows, after, until):
    known = rows["known_at"].dt.ceil("h")
    hours = pd.date_range(known.min() if after is None else pd.Timestamp(after) + pd.Timedelta("1h"), until, freq="h")
    made = [(h, "s1", rows["spent"][known <= h].mean()) for h in hours]
    return {"recent": pd.DataFrame(made, columns=["event_timestamp", "shop", "mean"])}
"""
CONTRACT = """
bad_rows: {max_share: 0.5}
expectations:
  - {type: ExpectColumnValuesToBeBetween, severity: warning, bad_rows: set_aside, column: spent, max_value: 1000}
"""


class Store:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.offline, self.pushed = pd.DataFrame(), list[pd.DataFrame]()

    def apply(self, project: object) -> None:
        pass

    def write_offline(self, project: object, view: str, rows: pd.DataFrame) -> None:
        self.offline = rows

    def push(self, project: object, tables: dict[str, pd.DataFrame]) -> None:
        self.pushed.append(tables["recent"])


@pytest.fixture
def platform(tmp_path: Path) -> Any:
    folder = tmp_path / "projects" / "sales"
    folder.mkdir(parents=True)
    for name, text in {"model.yaml": MODEL_YAML, "f.py": BUILDER, "expectations.yaml": CONTRACT}.items():
        (folder / name).write_text(text)
    (tmp_path / "params.yaml").write_text("sales: {window_days: 7}\n")
    env = {"MODELYARD_ROOT": str(tmp_path), "MODELYARD_HOME": str(tmp_path / "var")}
    return SimpleNamespace(settings=Settings.from_env(env), features=Store())


def land(platform: Any, spent: list[float], first: int = 0, known: datetime | None = None) -> None:
    """A row an hour, known half an hour later."""
    moments = [START + HOUR * (first + i) for i in range(len(spent))]
    rows = pd.DataFrame(
        {
            "key": [f"k{first + i}" for i in range(len(spent))],
            "event_time": pd.DatetimeIndex(moments),
            "known_at": pd.DatetimeIndex([known or m + HOUR / 2 for m in moments]),
            "shop": "s1",
            "spent": spent,
            "bought": 1.0,
        }
    )
    project = features.load_project("sales", platform.settings)
    landing_zone(project, platform.settings).add(rows)


def built(platform: Any) -> Any:
    return json.loads((platform.settings.home / "features" / "sales" / "built.json").read_text())


def test_rows_that_are_set_aside_are_in_no_view_and_are_counted(
    platform: Any, caplog: pytest.LogCaptureFixture
) -> None:
    land(platform, [10.0, 9e9, 20.0])
    features.build(platform, "sales", START + 4 * HOUR)
    assert platform.features.offline["mean"].tolist() == [10.0, 10.0, 15.0, 15.0]
    left_out = built(platform)["left_out"]
    assert (left_out["rows"], left_out["by_rule"]) == (1, {"ExpectColumnValuesToBeBetween(spent)": 1})
    assert "features are made without 1 of 3 rows" in caplog.text


def test_what_is_streamed_is_what_is_built(platform: Any) -> None:
    land(platform, [10.0, 9e9, 20.0, 5e9, 30.0])
    end = START + 6 * HOUR
    features.build(platform, "sales", end)
    assert len(list(features.stream(platform, "sales", START, end))) == 6
    streamed = pd.concat(platform.features.pushed, ignore_index=True)
    both = platform.features.offline.merge(streamed, on=["event_timestamp", "shop"], suffixes=("", "_streamed"))
    assert len(both) >= 5
    assert both["mean"].tolist() == both["mean_streamed"].tolist()


def test_a_bad_row_that_comes_later_changes_nothing_of_an_earlier_moment(platform: Any) -> None:
    land(platform, [10.0, 20.0])
    features.build(platform, "sales", START + 3 * HOUR)
    before = platform.features.offline
    land(platform, [9e9, 40.0], first=3)
    features.build(platform, "sales", START + 6 * HOUR)
    assert platform.features.offline["mean"].tolist()[: len(before)] == before["mean"].tolist()
    assert platform.features.offline["mean"].tolist()[-1] == pytest.approx(70 / 3)


def test_a_correction_that_is_bad_takes_its_row_out(platform: Any) -> None:
    land(platform, [10.0, 20.0])
    land(platform, [9e9], first=1, known=START + 2.6 * HOUR)
    list(features.stream(platform, "sales", START, START + 4 * HOUR))
    assert platform.features.pushed[-1]["mean"].tolist() == [10.0]
    features.build(platform, "sales", START + 4 * HOUR)
    assert platform.features.offline["mean"].tolist()[-1] == 10.0


def test_a_mended_contract_builds_anew_and_no_row_left_is_no_evidence(platform: Any) -> None:
    land(platform, [10.0, 2000.0])
    features.build(platform, "sales", START + 3 * HOUR)
    assert built(platform)["left_out"]["rows"] == 1
    contract = platform.settings.root / "projects" / "sales" / "expectations.yaml"
    contract.write_text(CONTRACT.replace("1000", "5000"))
    features.build(platform, "sales", START + 3 * HOUR)
    assert built(platform)["left_out"]["rows"] == 0
    contract.write_text(CONTRACT.replace("1000", "1"))
    with pytest.raises(EvidenceMissing, match="all 2 landed rows of sales break its contract"):
        features.build(platform, "sales", START + 3 * HOUR)
