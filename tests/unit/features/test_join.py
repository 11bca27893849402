"""The reference join: the newest value that was known and has not expired."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from modelyard.config.project import ModelSpec
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.features.join import point_in_time

T = pd.Timestamp("2013-01-01 12:00", tz="UTC")
H = pd.Timedelta(hours=1)
SPEC = ModelSpec.model_validate(
    {
        "name": "toy",
        "description": "A toy.",
        "owner": "team",
        "source": {"file": "rows.csv", "event_time": "at", "known_at": "done", "key": "id"},
        "label": {"column": "y", "depends_on_answer": False},
        "entities": {"site": "place"},
        "feature_builder": "features:build",
        "feature_views": {"air": {"entity": "site", "ttl_hours": 3}, "site": {"entity": "site", "ttl_hours": 0}},
        "features": {"temp": {"kind": "numeric", "from": "air"}, "size": {"kind": "numeric", "from": "site"}},
    }
)
SITE = pd.DataFrame({"site": ["a"], "event_timestamp": [T - 1000 * H], "size": [7.0]})


def joined(air: list[tuple[str, pd.Timestamp, float]], rows: list[tuple[str, pd.Timestamp]]) -> list[float]:
    frame = pd.DataFrame(rows, columns=["place", "at"])
    tables = {"air": pd.DataFrame(air, columns=["site", "event_timestamp", "temp"]), "site": SITE}
    found = point_in_time(SPEC, frame, tables)
    assert found[["place", "at"]].equals(frame)
    return found["temp"].tolist()


def test_a_value_counts_from_its_stamp_on_and_never_before() -> None:
    air = [("a", T, 1.0), ("a", T + H, 2.0)]
    moments = [T - pd.Timedelta("1us"), T, T + H - pd.Timedelta("1us"), T + H]
    assert joined(air, [("a", m) for m in moments])[1:] == [1.0, 1.0, 2.0]
    assert pd.isna(joined(air, [("a", moments[0])])[0])


def test_a_value_expires_after_its_time_to_live() -> None:
    assert joined([("a", T, 1.0)], [("a", T + 3 * H)]) == [1.0]
    assert pd.isna(joined([("a", T, 1.0)], [("a", T + 3 * H + pd.Timedelta("1us"))])[0])


def test_rows_keep_their_order_and_number_also_when_they_ask_the_same() -> None:
    rows = [("b", T), ("a", T + H), ("a", T), ("a", T)]
    assert joined([("a", T, 1.0), ("b", T, 5.0)], rows) == [5.0, 1.0, 1.0, 1.0]


def test_a_static_view_never_expires_and_an_unknown_entity_has_nothing() -> None:
    frame = pd.DataFrame({"place": ["a", "z"], "at": [T, T]})
    air = pd.DataFrame({"site": ["a"], "event_timestamp": [T], "temp": [1.0]})
    found = point_in_time(SPEC, frame, {"air": air, "site": SITE})
    assert found["size"].tolist()[0] == 7.0
    assert found.loc[1, ["temp", "size"]].isna().all()


def test_two_values_for_one_moment_are_refused_and_so_is_an_absent_view(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="two rows"):
        joined([("a", T, 1.0), ("a", T, 2.0)], [("a", T)])
    with pytest.raises(NotFound, match="air"):
        point_in_time(SPEC, pd.DataFrame({"place": ["a"], "at": [T]}), {"site": SITE})
