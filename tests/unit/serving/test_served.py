"""Every answered row is logged, whatever becomes of its comparison."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fixtures.bundles import MODEL, ROW, SIGNATURE, graph, write_bundle_of
from fixtures.keys import TRUST

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Route
from modelyard.serving.control import Control
from modelyard.serving.errors import Refusal
from modelyard.serving.loading import Versions
from modelyard.serving.log import PredictionLog
from modelyard.serving.online import OnlineStore
from modelyard.serving.requests import PredictRequest
from modelyard.serving.served import Served

pytestmark = pytest.mark.anyio


@pytest.fixture
async def control(tmp_path: Path) -> Control:
    """A replica on which a challenger is compared with the champion, and answers nobody."""
    log = PredictionLog(tmp_path / "log", "gateway-1")
    made = Control("gateway-1", tmp_path / "state", log, OnlineStore(None, lambda *_: None), trust=lambda: TRUST)
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
    comparer = challenger_of(served).comparer
    scored = comparer._score
    comparer._score = lambda rows: (hold.wait(10), scored(rows))[1]
    for _ in range(3):
        await served.predict(PredictRequest(rows=[ROW]))
    served._pair_all()
    control.close()
    hold.set()
    await asyncio.sleep(0.1)  # what comes too late is not logged a second time
    assert await logged(control, tmp_path) == [False] * 3


async def test_a_pair_that_cannot_even_be_asked_for_costs_no_row(control: Control, tmp_path: Path) -> None:
    served = control.find(MODEL)

    def broken(rows: object) -> None:
        raise RuntimeError("cannot schedule new futures")

    challenger_of(served).comparer.submit = broken
    await served.predict(PredictRequest(rows=[ROW]))
    served._pair_all()
    assert not served._unpaired
    assert await logged(control, tmp_path) == [False]


async def test_pairs_that_come_are_logged_once_with_their_score(control: Control, tmp_path: Path) -> None:
    served = control.find(MODEL)
    await served.predict(PredictRequest(rows=[ROW]))
    await asyncio.sleep(0.2)
    assert not served._unpaired
    assert await logged(control, tmp_path) == [True]


async def test_rows_that_the_challenger_was_never_asked_count_neither_way(control: Control, tmp_path: Path) -> None:
    served = control.find(MODEL)
    before = challenger_of(served)
    assert served.live is not None
    await control.apply(served.live.route.model_copy(update={"weight": 10_000}), 2)
    assert challenger_of(served).batcher is before.batcher
    await served.predict(PredictRequest(rows=[ROW]))
    before.batcher.thread._queue_rows = 0
    answer = await served.predict(PredictRequest(rows=[ROW, ROW]))
    assert answer["variant"] == "champion"
    counts = control.state(MODEL).counts["challenger"]
    assert counts == {"rows": 1, "errors": 0, "dropped_pairs": 0, "repeats": 0, "failed_repeats": 0}


async def test_the_rows_of_one_request_are_told_from_requests(control: Control) -> None:
    served = control.find(MODEL)
    assert served.live is not None
    await control.apply(served.live.route.model_copy(update={"weight": 10_000}), 2)
    await served.predict(PredictRequest(rows=[ROW, ROW, ROW]))
    await served.predict(PredictRequest(rows=[ROW]))

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    challenger_of(served).batcher.submit = broken
    await served.predict(PredictRequest(rows=[ROW, ROW]))
    counts = control.state(MODEL).counts
    assert {key: counts["challenger"][key] for key in ("rows", "repeats", "errors", "failed_repeats")} == {
        "rows": 6, "repeats": 3, "errors": 2, "failed_repeats": 1,
    }  # fmt: skip


@pytest.mark.parametrize("weight", [0, 10_000])
async def test_a_request_is_one_trial_of_the_guardrails_however_many_rows_it_has(control: Control, weight: int) -> None:
    """Rows of one request are alike; as trials of their own, a single one of many rows would take a version off."""
    served = control.find(MODEL)
    assert served.live is not None
    limits = {"timeout_ms": 60_000, "disagreement_above": 0.01}
    await control.apply(
        served.live.route.model_copy(update={"weight": weight, "rollout": "another", "guardrails": limits}), 2
    )
    await served.predict(PredictRequest(rows=[ROW] * 200))
    served._pair_all()
    while served._unpaired:  # noqa: ASYNC110  the other version scores in a thread of its own
        await asyncio.sleep(0.005)
    counts = challenger_of(served).guard.counts
    assert counts["invalid_output"] == {"failures": 0, "trials": 1}
    assert counts["disagreement"] == {"failures": 1, "trials": 1}
    assert control.state(MODEL).tripped == ""


async def test_a_version_that_was_loaded_anew_keeps_its_record(control: Control) -> None:
    served = control.find(MODEL)
    before = served.live
    assert before is not None
    assert before.challenger is not None
    before.challenger.guard.refused()
    before.challenger.tally.rows = before.champion.tally.rows = 7
    control._versions = Versions(trust=lambda: TRUST)  # both were put out by others' versions
    await control.apply(before.route.model_copy(update={"weight": 500}), 2)
    after = served.live
    assert after is not None
    assert after.challenger is not None
    assert after.champion.scorer is not before.champion.scorer
    assert (after.challenger.guard, after.challenger.batcher) == (before.challenger.guard, before.challenger.batcher)
    counts = control.state(MODEL).counts
    assert (counts["champion"]["rows"], counts["challenger"]["rows"]) == (7, 7)
    assert counts["guard.error_rate"] == {"failures": 1, "trials": 1}


async def test_a_probe_asks_the_challenger_by_its_own_inputs(control: Control, tmp_path: Path) -> None:
    wider = SIGNATURE.inputs[0].model_copy(update={"high": 30_000})
    signature = SIGNATURE.model_copy(update={"inputs": (wider, *SIGNATURE.inputs[1:])})
    _, new = write_bundle_of(tmp_path / "wider", version=3, signature=signature)
    served = control.find(MODEL)
    assert served.live is not None
    await control.apply(served.live.route.model_copy(update={"challenger": new, "rollout": "s"}), 2)
    far = ROW | {"distance": 20_000.0}
    with pytest.raises(Refusal, match="distance"):
        await served.predict(PredictRequest(rows=[far]))
    (one,) = (await served.probe([far]))["predictions"]
    assert (one["version"], one["key"]) == (3, ROW["flight"])
    with pytest.raises(Refusal, match="distance") as refused:
        await served.probe([ROW | {"distance": 40_000.0}])
    assert refused.value.status == 422
    assert control.state(MODEL).counts["guard.error_rate"]["failures"] == 0
