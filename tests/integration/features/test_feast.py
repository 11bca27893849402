"""Features through real Feast: point-in-time frames, online values, and both the same for the same moment."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fixtures.flights import AS_OF, MODEL, ROOT

from modelyard.config.project import Project, load_project
from modelyard.data.source import landing_zone
from modelyard.features.join import STAMP, point_in_time
from modelyard.features.leakage import find_leaks
from modelyard.features.online import Looked, OnlineReader, decode, encode, entity_key, table_name, views_of
from modelyard.flows import features as flow
from modelyard.flows.ingest import ingest
from modelyard.flows.snapshot import read_valid

if TYPE_CHECKING:
    from modelyard.wiring import ConnectedPlatform

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def project(flights: ConnectedPlatform) -> Project:
    return load_project(MODEL, flights.settings)


@pytest.fixture(scope="module")
def rows(flights: ConnectedPlatform, admitted: str) -> pd.DataFrame:
    return read_valid(flights, admitted)[1]


def tables(platform: ConnectedPlatform, project: Project) -> dict[str, pd.DataFrame]:
    folder = platform.settings.home / "features" / MODEL
    return {view: pd.read_parquet(folder / f"{view}.parquet") for view in project.spec.views}


def entities(project: Project, rows: pd.DataFrame) -> list[dict[str, str]]:
    return rows[list(project.spec.entities.values())].drop_duplicates().to_dict("records")


def read_online(address: str, project: Project, asked: list[dict[str, Any]], moment: datetime) -> list[Looked]:
    """As the gateway reads."""

    async def read() -> list[Looked]:
        import asyncpg

        pool = await asyncpg.create_pool(address.replace("postgresql+psycopg", "postgresql"), min_size=1, max_size=2)
        async with pool:
            return await OnlineReader(pool, views_of(project.spec)).read(asked, [moment] * len(asked))

    return asyncio.run(read())


@pytest.fixture
def address() -> str:
    import os

    return os.environ["FEAST_REGISTRY_URL"]


def online_frame(address: str, project: Project, asked: list[dict[str, Any]], moment: datetime) -> pd.DataFrame:
    frame = pd.DataFrame([looked.values for looked in read_online(address, project, asked, moment)])
    return frame.astype("float64")


def at_moment(
    platform: ConnectedPlatform, project: Project, asked: list[dict[str, Any]], moment: datetime
) -> pd.DataFrame:
    """The same entities' features by Feast's point-in-time join."""
    frame = pd.DataFrame(asked).assign(event_time=pd.Timestamp(moment))
    return platform.features.training_frame(project, frame)


def test_a_frame_is_what_the_reference_join_says(
    flights: ConnectedPlatform, project: Project, admitted: str, rows: pd.DataFrame
) -> None:
    frame, digest = flow.training_frame(flights, MODEL, admitted)
    wanted = point_in_time(project.spec, rows, tables(flights, project))
    pd.testing.assert_frame_equal(frame, wanted[frame.columns])
    assert len(frame) == len(rows)
    assert str(frame["event_time"].dtype.tz) == "UTC"  # type: ignore[union-attr]
    assert frame[list(project.spec.of(kind="numeric"))].notna().mean().min() > 0.1
    assert flow.training_frame(flights, MODEL, admitted)[1] == digest


def test_rows_out_are_rows_in_whatever_they_ask(
    flights: ConnectedPlatform, project: Project, rows: pd.DataFrame
) -> None:
    odd = pd.concat([rows.iloc[[5, 5, 3]], rows.iloc[:1].assign(tailnum="nowhere", origin="XXX", flight="?")])
    frame = flights.features.training_frame(project, odd)
    assert frame["key"].tolist() == odd["key"].tolist()
    pd.testing.assert_series_equal(frame.iloc[0], frame.iloc[1], check_names=False)
    assert frame.iloc[3][["plane_age", "temp", "flight_rate_28d"]].isna().all()


def test_more_landed_since_changes_no_frame(flights: ConnectedPlatform, project: Project, admitted: str) -> None:
    before = flow.training_frame(flights, MODEL, admitted)[1]
    later = AS_OF + timedelta(days=1)
    ingest(flights, MODEL, AS_OF, later)
    flow.build(flights, MODEL, later)
    assert flow.training_frame(flights, MODEL, admitted)[1] == before
    # An older moment does not take the newer rows away again.
    flow.build(flights, MODEL, AS_OF)
    assert tables(flights, project)["origin_recent"][STAMP].max() == pd.Timestamp(later)


def test_online_values_are_the_frame_of_the_same_moment(
    flights: ConnectedPlatform, project: Project, rows: pd.DataFrame, address: str
) -> None:
    asked = [*entities(project, rows), dict.fromkeys(project.spec.entities.values(), "nobody")]
    assert flow.materialize(flights, MODEL, AS_OF) == flow.materialize(flights, MODEL, AS_OF) > 1000
    for moment in (AS_OF, AS_OF + 59 * timedelta(minutes=1)):
        wanted = at_moment(flights, project, asked, moment)
        found = online_frame(address, project, asked, moment)
        pd.testing.assert_frame_equal(found, wanted[found.columns])


def test_the_stream_keeps_them_the_same_hour_by_hour(
    flights: ConnectedPlatform, project: Project, rows: pd.DataFrame, address: str
) -> None:
    ingest(flights, MODEL, AS_OF, AS_OF + timedelta(days=1))
    flow.build(flights, MODEL, AS_OF + timedelta(days=1))
    flow.materialize(flights, MODEL, AS_OF)
    asked = entities(project, rows)
    for hour in flow.stream(flights, MODEL, AS_OF, AS_OF + 8 * HOUR):
        moment = hour + timedelta(minutes=37)
        wanted = at_moment(flights, project, asked, moment)
        found = online_frame(address, project, asked, moment)
        pd.testing.assert_frame_equal(found, wanted[found.columns], obj=str(hour))
    # Materialising an earlier moment does not undo what was streamed.
    flow.materialize(flights, MODEL, AS_OF)
    pd.testing.assert_frame_equal(online_frame(address, project, asked, moment), found)


def test_the_reader_agrees_with_feasts_sdk(
    flights: ConnectedPlatform, project: Project, rows: pd.DataFrame, address: str
) -> None:
    flow.materialize(flights, MODEL, AS_OF)
    asked = entities(project, rows)[:50]
    long_ago = AS_OF - timedelta(days=1)
    found = online_frame(address, project, asked, long_ago)
    theirs = flights.features.online(project, asked)
    pd.testing.assert_frame_equal(found, theirs[found.columns].astype("float64"))


def test_keys_values_and_tables_are_feasts_own(flights: ConnectedPlatform, project: Project) -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.infra.online_stores.helpers import compute_table_id
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    for text in ("EWR", "", "é" * 200):
        theirs = EntityKey(join_keys=["origin"], entity_values=[Value(string_val=text)])
        assert entity_key("origin", text) == serialize_entity_key(theirs, entity_key_serialization_version=3)
        assert encode(text) == Value(string_val=text).SerializeToString()
    for number in (0.0, -1.5, 1e300):
        assert encode(number) == Value(double_val=number).SerializeToString()
    for kind, value in {"int64_val": -7, "int32_val": 3, "bool_val": False, "float_val": 0.5}.items():
        assert decode(Value(**{kind: value}).SerializeToString()) == float(value)
    store = flights.features._store  # type: ignore[attr-defined]
    for view in store.list_feature_views():
        assert table_name(*view.name.split("__")) == compute_table_id(store.project, view, False)


def test_what_expired_or_never_was_is_said(
    flights: ConnectedPlatform, project: Project, rows: pd.DataFrame, address: str
) -> None:
    flow.materialize(flights, MODEL, AS_OF)
    asked = [entities(project, rows)[0] | {"tailnum": "nowhere"}]
    (late,) = read_online(address, project, asked, AS_OF + timedelta(days=3))
    assert {"temp", "origin_delay_2h", "carrier_rate_6h"} <= set(late.expired)
    assert {"plane_age", "plane_last_delay"} <= set(late.missing)
    assert all(late.values[name] is None for name in (*late.expired, *late.missing))


def test_the_frame_has_no_leaks(flights: ConnectedPlatform, project: Project, admitted: str) -> None:
    frame, _ = flow.training_frame(flights, MODEL, admitted)
    landed = landing_zone(project, flights.settings).read(None, AS_OF + timedelta(days=30))
    report = find_leaks(project, frame, landed, moments=5, generator=np.random.default_rng(0))
    assert report.leaks == ()
    assert report.values >= 5 * len(project.spec.of(kind="numeric", source="weather"))


@pytest.mark.parametrize(("view", "early"), [("weather", HOUR), ("flight_recent", 3 * HOUR), ("plane_recent", HOUR)])
def test_a_planted_leak_is_caught(
    flights: ConnectedPlatform, project: Project, rows: pd.DataFrame, view: str, early: timedelta
) -> None:
    """Weather from its hour's start on, or outcomes before the arrival: rows stamped earlier than they were known."""
    honest = tables(flights, project)
    leaky = honest[view].assign(**{STAMP: honest[view][STAMP] - early})
    flights.features.write_offline(project, view, leaky)
    try:
        frame = flights.features.training_frame(project, rows)
    finally:
        flights.features.write_offline(project, view, honest[view])
    landed = landing_zone(project, flights.settings).read(None, AS_OF)
    report = find_leaks(project, frame, landed, moments=8, generator=np.random.default_rng(0))
    assert {leak.feature for leak in report.leaks} <= set(project.spec.of(source=view))
    assert report.leaks


def test_feast_apply_registers_the_same(flights: ConnectedPlatform, project: Project) -> None:
    """The feature repository stands by itself: Feast's own command finds what the platform registered."""
    command = [str(Path(sys.executable).parent / "feast"), "-c", str(ROOT / "feature_repo"), "plan"]
    plan = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "Deleted" not in plan.stdout
    assert "Created feature view" not in plan.stdout


def test_feast_is_not_needed_to_read(tmp_path: Path) -> None:
    code = "import sys, modelyard.features.online as o; sys.exit('feast' in sys.modules or not o.OnlineReader)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0
