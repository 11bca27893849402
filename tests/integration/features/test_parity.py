"""Parity on real Feast: what the gateway's reader served, beside Feast's point-in-time join of the same requests."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fixtures.flights import AS_OF, MODEL
from integration.flows.decisions import FrameLog, Here

from modelyard.config.project import Project, load_project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.verdict import Outcome, Verdict
from modelyard.data.source import landing_zone
from modelyard.features.online import OnlineReader, views_of
from modelyard.flows import features, monitor, parity
from modelyard.flows.ingest import ingest

if TYPE_CHECKING:
    from modelyard.wiring import ConnectedPlatform

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STALE_FROM = AS_OF + 8 * HOUR


@pytest.fixture(scope="module")
def project(flights: ConnectedPlatform) -> Project:
    return load_project(MODEL, flights.settings)


def read_online(project: Project, rows: pd.DataFrame) -> pd.DataFrame:
    """As the gateway reads."""
    address = os.environ["FEAST_REGISTRY_URL"].replace("postgresql+psycopg", "postgresql")

    async def read() -> list[dict[str, Any]]:
        import asyncpg

        async with asyncpg.create_pool(address, min_size=1, max_size=2) as pool:
            moments = [m.to_pydatetime() for m in rows["event_time"]]
            looked = await OnlineReader(pool, views_of(project.spec)).read(rows.to_dict("records"), moments)
            return [one.values for one in looked]

    return pd.DataFrame(asyncio.run(read())).astype("float32")


def logged(project: Project, rows: pd.DataFrame) -> pd.DataFrame:
    """What the prediction log would hold of these requests, answered now."""
    online = read_online(project, rows)
    asked = [name for name in project.spec.of(source="request") if name in rows]
    log = rows[["key", "event_time", *asked]].reset_index(drop=True).join(online)
    log["sched_minute"] = log["sched_minute"].astype("float32")
    never = pd.Series(pd.NaT, index=log.index, dtype="datetime64[us, UTC]")
    return log.assign(request_id=log["key"] + "-r", version=1, score=0.3, label=np.nan, label_at=never)


@pytest.fixture(scope="module")
def served(flights: ConnectedPlatform, project: Project) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Requests of eight hours in which the stream ran, and of six more in which nothing was written any more."""
    ingest(flights, MODEL, AS_OF, AS_OF + DAY)
    features.build(flights, MODEL, AS_OF + DAY)
    features.materialize(flights, MODEL, AS_OF)
    rows = landing_zone(project, flights.settings).read(AS_OF, AS_OF + DAY)
    fresh = []
    for hour in features.stream(flights, MODEL, AS_OF, STALE_FROM - HOUR):
        inside = rows["event_time"].ge(hour) & rows["event_time"].lt(hour + HOUR)
        fresh.append(logged(project, rows[inside]))
    late = rows["event_time"].ge(STALE_FROM) & rows["event_time"].lt(STALE_FROM + 6 * HOUR)
    return pd.concat(fresh, ignore_index=True), logged(project, rows[late])


@pytest.fixture(scope="module")
def platform(flights: ConnectedPlatform) -> Here:
    here = Here(flights.settings, flights.ledger)
    here.features = flights.features  # type: ignore[attr-defined]
    here.crown(here.release(as_of=AS_OF, created_at=AS_OF))
    return here


class Without:
    """The offline store, as it would be had a column never had a value."""

    def __init__(self, store: Any, column: str) -> None:
        self.store, self._column = store, column

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def training_frame(self, project: Project, rows: pd.DataFrame) -> pd.DataFrame:
        frame: pd.DataFrame = self.store.training_frame(project, rows)
        return frame.assign(**{self._column: np.nan})


def compared(platform: Here, log: pd.DataFrame, as_of: datetime = AS_OF + DAY) -> dict[str, Verdict]:
    platform.predictions.rows = log
    verdicts, _ = parity.measure(platform, MODEL, as_of)  # type: ignore[arg-type]
    return {v.check: v for v in verdicts}


def different(verdict: Verdict) -> set[str]:
    return {m.slice for m in verdict.measurements if m.name == "differing" and m.value}


Served = tuple[pd.DataFrame, pd.DataFrame]


def test_what_was_streamed_in_time_agrees(platform: Here, served: Served, project: Project) -> None:
    found = compared(platform, served[0])
    assert {v.outcome for v in found.values()} == {Outcome.SUCCESSFUL}, [v.reason for v in found.values()]
    differing = [m for m in found["parity"].measurements if m.name == "differing"]
    slices = {m.slice.removeprefix("feature=") for m in differing if m.n >= 150}
    assert set(project.spec.of(source="weather")) - {"wind_gust"} | {"plane_age", "carrier", "sched_minute"} <= slices
    assert {m.value for m in differing if m.n} == {0}


@pytest.mark.parametrize(("feature", "shift"), [("route_rate_7d", 0.02), ("temp", 1.0), ("sched_minute", 60.0)])
def test_a_shifted_feature_is_named_and_no_other(platform: Here, served: Served, feature: str, shift: float) -> None:
    found = compared(platform, served[0].assign(**{feature: served[0][feature] + np.float32(shift)}))
    assert found["parity"].outcome is Outcome.FAILED
    assert found["parity"].reason.startswith(f"{feature}: ")
    assert different(found["parity"]) == {f"feature={feature}"}
    assert found["feature_freshness"].outcome is Outcome.SUCCESSFUL


def test_another_category_is_a_difference(platform: Here, served: Served) -> None:
    found = compared(platform, served[0].assign(origin="JFK"))
    assert different(found["parity"]) == {"feature=origin"}


def test_a_store_that_nobody_writes_is_seen(platform: Here, served: Served) -> None:
    """Within their time to live old values differ; past it they are missing, and offline they are not."""
    found = compared(platform, served[1])
    assert found["parity"].outcome is Outcome.FAILED
    assert found["feature_freshness"].outcome is Outcome.FAILED
    late = {m.slice.removeprefix("feature=") for m in found["feature_freshness"].measurements if (m.value or 0) > 0.3}
    assert {"network_rate_2h", "origin_delay_2h"} <= late
    assert "plane_age" not in late
    assert "served nothing, offline" in found["feature_freshness"].reason


def test_a_feature_that_the_log_does_not_have_is_no_agreement(platform: Here, served: Served) -> None:
    found = compared(platform, served[0].drop(columns="temp"))
    assert found["parity"].outcome is Outcome.FAILED
    assert found["parity"].reason.startswith("temp: no such feature served")
    assert found["feature_freshness"].outcome is Outcome.INCONCLUSIVE


def test_what_is_missing_on_both_sides_is_counted_and_is_no_agreement(platform: Here, served: Served) -> None:
    """The champion of this test reads the weather's temperature alone: nothing of its view is known then."""
    log = served[0].assign(temp=np.float32(np.nan))
    platform.features = Without(platform.features, "temp")  # type: ignore[attr-defined]
    try:
        found = compared(platform, log)
    finally:
        platform.features = platform.features.store  # type: ignore[attr-defined]
    assert found["parity"].outcome is Outcome.INCONCLUSIVE
    assert found["parity"].reason.startswith("nothing of view weather has a value on either side")
    (counted,) = (m for m in found["parity"].measurements if (m.name, m.slice) == ("both_missing", "feature=temp"))
    assert counted.value == counted.n >= 150


def test_few_requests_are_no_evidence(platform: Here, served: Served) -> None:
    for log in (served[0].iloc[:0], served[0].iloc[:49], served[0].assign(key="never landed")):
        found = compared(platform, log)
        assert {v.outcome for v in found.values()} == {Outcome.INCONCLUSIVE}
        assert "50 are needed" in found["parity"].reason


def test_the_sample_does_not_depend_on_order(platform: Here, served: Served) -> None:
    log = pd.concat([served[0].assign(request_id=served[0]["request_id"] + str(i)) for i in range(3)])
    first = compared(platform, log)
    assert first == compared(platform, log.sample(frac=1, random_state=1))
    assert first["parity"].measurements[0].n == 500


def test_a_comparison_is_tried_until_answered_then_once_when_due_and_cited_by_the_drift_checks(
    platform: Here, served: Served
) -> None:
    key, as_of = f"features:{MODEL}:parity", AS_OF + DAY

    def cited(moment: datetime) -> dict[str, Outcome]:
        return {v.check: v.outcome for v in parity.evidence(platform, MODEL, moment)}  # type: ignore[arg-type]

    assert set(cited(as_of).values()) == {Outcome.INCONCLUSIVE}
    platform.predictions.rows = served[0].drop(columns="request_id")
    broken = parity.check(platform, MODEL, as_of)  # type: ignore[arg-type]
    assert broken is not None
    assert (broken.action, "request_id" in broken.reasons[0]) == ("unknown", True)
    platform.predictions.rows = served[0].assign(temp=served[0]["temp"] + np.float32(3))
    wrong = parity.check(platform, MODEL, as_of)  # type: ignore[arg-type]
    assert wrong is not None
    assert (wrong.action, wrong.subject) == ("different", platform.ledger.releases.champion(MODEL).digest)
    assert key in platform.open_incidents()
    platform.predictions.rows = served[0]
    assert parity.check(platform, MODEL, as_of + HOUR) is None  # type: ignore[arg-type]
    check = monitor.check(platform, MODEL, as_of + HOUR, run_key="r1")  # type: ignore[arg-type]
    assert {v.check: v.outcome for v in check.verdicts}["parity"] is Outcome.FAILED
    row = platform.ledger.journal.checks(MODEL)[0]
    assert row["parity"] == {"parity": "failed", "feature_freshness": "successful"}
    assert set(cited(as_of - HOUR).values()) == {Outcome.INCONCLUSIVE}  # of the future
    assert set(cited(as_of + 3 * DAY).values()) == {Outcome.INCONCLUSIVE}  # too old


def test_without_a_champion_there_is_nothing_to_compare(platform: Here) -> None:
    class Nobody:
        def champion(self, model: str) -> None:
            return None

    class Ledger:
        releases = Nobody()

    empty = Here(platform.settings, Ledger(), FrameLog())  # type: ignore[arg-type]
    assert parity.evidence(empty, MODEL, AS_OF) == ()  # type: ignore[arg-type]
    with pytest.raises(EvidenceMissing, match="no champion"):
        parity.measure(empty, MODEL, AS_OF)  # type: ignore[arg-type]
