"""Every answered row is logged, whatever becomes of its comparison."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Route
from modelyard.serving.control import Control
from modelyard.serving.log import PredictionLog
from modelyard.serving.online import OnlineStore
from modelyard.serving.requests import PredictRequest
from modelyard.serving.served import Served

pytestmark = pytest.mark.anyio


@pytest.fixture
async def control(tmp_path: Path) -> Control:
    """A replica on which a challenger is compared with the champion, and answers nobody."""
    log = PredictionLog(tmp_path / "log", "gateway-1")
    made = Control("gateway-1", tmp_path / "state", log, OnlineStore(None, lambda *_: None))
    _, old = write_bundle_of(tmp_path / "old")
    _, new = write_bundle_of(tmp_path / "new", version=2, onnx=graph(bias=0.2))
    limits = {"timeout_ms": 60_000}
    await made.apply(
        Route(model=MODEL, champion=old, challenger=new, weight=0, rollout="r", paired=True, guardrails=limits), 1
    )
    return made


async def logged(control: Control, tmp_path: Path) -> list[bool]:
    """Stop as the gateway does; whether each logged row has its pair."""
    control.close()
    await control._log.close()
    frame = ParquetPredictions(tmp_path / "log").rollout(MODEL, "r")
    paired: list[bool] = frame["other_score"].notna().tolist()
    return paired


def challenger_of(served: Served) -> Any:
    assert served.live is not None
    return served.live.challenger


async def test_a_stop_keeps_rows_whose_pair_is_still_under_way(control: Control, tmp_path: Path) -> None:
    served, hold = control.find(MODEL), threading.Event()
    batcher = challenger_of(served).batcher
    scored = batcher._score
    batcher._score = lambda rows: (hold.wait(10), scored(rows))[1]
    for _ in range(3):
        await served.predict(PredictRequest(rows=[ROW]))
    await asyncio.sleep(0.01)
    control.close()
    hold.set()
    await asyncio.sleep(0.1)  # what comes too late is not logged a second time
    assert await logged(control, tmp_path) == [False] * 3


async def test_a_pair_that_cannot_even_be_asked_for_costs_no_row(control: Control, tmp_path: Path) -> None:
    served = control.find(MODEL)

    def broken(rows: object) -> None:
        raise RuntimeError("cannot schedule new futures")

    challenger_of(served).batcher.submit = broken
    await served.predict(PredictRequest(rows=[ROW]))
    await asyncio.sleep(0.01)
    assert not served._unpaired
    assert await logged(control, tmp_path) == [False]


async def test_pairs_that_come_are_logged_once_with_their_score(control: Control, tmp_path: Path) -> None:
    served = control.find(MODEL)
    await served.predict(PredictRequest(rows=[ROW]))
    await asyncio.sleep(0.2)
    assert not served._unpaired
    assert await logged(control, tmp_path) == [True]
