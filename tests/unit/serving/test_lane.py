"""The quick way answers, charges and logs as the careful one does."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fixtures.bundles import MODEL, ROW, SIGNATURE, graph, write_bundle_of
from fixtures.keys import TRUST

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.ports.fleet import Arm, Route
from modelyard.serving import trial as trial_module
from modelyard.serving.app import App
from modelyard.serving.control import Control
from modelyard.serving.encoding import Encoded
from modelyard.serving.live import Challenger
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import Metrics
from modelyard.serving.online import OnlineStore
from modelyard.serving.requests import read_predict
from modelyard.serving.served import Served

pytestmark = pytest.mark.anyio
TARGET = f"/v1/models/{MODEL}/predict".encode()
BUDGETS = ("error_budget", "invalid_budget", "disagreement_budget", "latency_budget")
LAX = dict.fromkeys(BUDGETS, 0.9) | {"timeout_ms": 60_000}
MILES = SIGNATURE.inputs[0].model_copy(update={"scale": 0.001})
KINDS: dict[str, dict[str, Any]] = {
    "old": {},
    "new": {"onnx": graph(bias=0.2)},
    "nan": {"onnx": graph(fault="nan")},
    "raises": {"onnx": graph(fault="raise")},
    "hangs": {"onnx": graph(fault="hang")},
    "units": {"signature": SIGNATURE.model_copy(update={"inputs": (MILES, *SIGNATURE.inputs[1:])})},
}


class Replica:
    """A gateway without its HTTP server."""

    def __init__(self, folder: Path, most: int = 1024) -> None:
        self.folder, self.log = folder, PredictionLog(folder / "log", "gateway-1")
        self.control = Control(
            "gateway-1", folder / "state", self.log, OnlineStore(None, lambda *_: None), trust=lambda: TRUST
        )
        self.metrics = Metrics(self.control, self.log)
        self.app = App(self.control, self.log, self.metrics, None, most)
        self.generation = 0

    def arm(self, kind: str) -> Arm:
        version = 1 + list(KINDS).index(kind)
        return write_bundle_of(self.folder / kind, version=version, **KINDS[kind])[1]

    async def route(
        self, champion: str = "old", challenger: str = "", weight: int = 5000, *, paired: bool = False
    ) -> None:
        self.generation += 1
        second = self.arm(challenger) if challenger else None
        await self.control.apply(
            Route(
                model=MODEL, champion=self.arm(champion), challenger=second, weight=weight if second else 0, salt="s",
                rollout="r", paired=paired, guardrails=LAX,
            ),
            self.generation,
        )  # fmt: skip

    @property
    def served(self) -> Served:
        return self.control.find(MODEL)

    def put(self, *bodies: dict[str, Any]) -> list[asyncio.Future[tuple[int, dict[str, Any]]]]:
        """Requests of one turn; each must be taken."""
        answers = []
        for body in bodies:
            answer: asyncio.Future[tuple[int, dict[str, Any]]] = asyncio.get_running_loop().create_future()

            def reply(status: int, data: bytes, to: asyncio.Future[Any] = answer) -> None:
                to.set_result((status, msgspec.json.decode(data)))  # a second reply would raise

            assert self.app.take(TARGET, json.dumps(body).encode(), reply)
            answers.append(answer)
        return answers

    async def ask(self, *bodies: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
        return await asyncio.wait_for(asyncio.gather(*self.put(*bodies)), 30)

    async def stop(self) -> Any:
        """What was logged."""
        self.control.close()
        await self.log.close()
        return ParquetPredictions(self.folder / "log").rollout(MODEL, "r").sort_values("key")

    def state(self) -> dict[str, dict[str, float]]:
        return self.control.state(MODEL).counts


@pytest.fixture
async def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


def one(n: int, **change: object) -> dict[str, Any]:
    return {"rows": [ROW | {"flight": f"F{n:02}"} | change]}


def alike(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is another one's each time."""
    (prediction,) = answer["predictions"]
    assert prediction["request_id"] == answer["request_id"]
    return answer | {"request_id": "", "predictions": [prediction | {"request_id": ""}]}


@pytest.mark.parametrize("challenger", ["", "new", "nan", "raises"])
async def test_it_answers_as_the_careful_way_does(replica: Replica, challenger: str) -> None:
    await replica.route("old", challenger)
    bodies = [one(n, distance=9000 if n % 3 else 10.5, wind=None if n % 2 else 3) for n in range(20)]
    bodies.append({"rows": [ROW | {"flight": 'é "\\\n'}], "event_time": "2013-04-09T12:00:00Z"})
    answers = [(await replica.ask(body))[0] for body in bodies]  # one that raises would fail for all of its turn
    for body, (status, answer) in zip(bodies, answers, strict=True):
        careful = await replica.served.predict(read_predict(json.dumps(body).encode()))
        assert status == 200
        assert alike(answer) == alike(msgspec.json.decode(msgspec.json.encode(careful)))
    assert len({answer["request_id"] for _, answer in answers}) == len(answers)
    assert replica.metrics.in_flight == 0


async def test_requests_of_one_turn_are_scored_by_one_call(replica: Replica) -> None:
    await replica.route()
    assert replica.served.live is not None
    scorer, sizes = replica.served.live.champion.scorer, []
    score = scorer.score
    scorer.score = lambda rows: (sizes.append(len(rows)), score(rows))[1]  # type: ignore[method-assign]
    await replica.ask(*(one(n) for n in range(7)))
    assert sizes == [7]


async def test_every_row_is_logged_once_with_its_own_moment(replica: Replica) -> None:
    await replica.route(paired=True, challenger="new")
    moments = [f"2013-04-{9 + n % 3:02}T12:00:{n:02}Z" for n in range(30)]
    answers = await replica.ask(*(one(n, wind=n) | {"event_time": at} for n, at in enumerate(moments)))
    assert not replica.app.take(TARGET, json.dumps(one(99) | {"probe": True}).encode(), lambda *_: None)
    live = replica.served.live
    assert live is not None
    assert live.challenger is not None
    assert live.champion.tally.rows + live.challenger.tally.rows == 30
    await asyncio.sleep(0.1)
    frame = await replica.stop()
    assert frame["key"].tolist() == [f"F{n:02}" for n in range(30)]
    assert frame["wind"].tolist() == list(range(30))
    assert [at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in frame["event_time"]] == moments
    predictions = [answer["predictions"][0] for _, answer in answers]
    assert frame["request_id"].tolist() == [p["request_id"] for p in predictions]
    assert frame["variant"].tolist() == [p["variant"] for p in predictions]
    assert frame["score"].tolist() == [p["probability"] for p in predictions]
    assert (frame["latency_ms"] > 0).all()
    versions = {"champion": 0.0, "challenger": 0.2}
    other = [versions["champion" if v == "challenger" else "challenger"] for v in frame["variant"]]
    logit = 1.4 - 0.05 * np.arange(30) + 0.1 + np.array(other)
    assert frame["other_score"].to_numpy() == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


@pytest.mark.parametrize(
    ("challenger", "guard", "error"),
    [("nan", "invalid_output", "InvalidOutput"), ("raises", "error_rate", "InvalidArgument")],
)
async def test_a_challenger_that_fails_is_charged_and_the_champion_answers(
    replica: Replica, challenger: str, guard: str, error: str
) -> None:
    await replica.route("old", challenger, 10_000)
    answers = await replica.ask(*(one(n, distance=9000) for n in range(5)))
    assert {(status, answer["version"], answer["variant"]) for status, answer in answers} == {(200, 1, "champion")}
    counts = replica.state()
    assert counts["challenger"] == {"rows": 5, "errors": 5, "dropped_pairs": 0, "repeats": 0, "failed_repeats": 0}
    assert counts["champion"] == {"rows": 0, "errors": 0, "dropped_pairs": 0, "repeats": 0, "failed_repeats": 0}
    assert counts[f"guard.{guard}"]["failures"] > 0
    frame = await replica.stop()
    assert len(frame) == 5
    assert frame["error"].str.contains(error).all()


async def test_only_the_rows_that_are_no_probability_go_to_the_champion(replica: Replica) -> None:
    await replica.route("old", "new", 10_000)
    assert replica.served.live is not None
    challenger = replica.served.live.challenger
    assert challenger is not None
    challenger.batcher.thread._score = lambda rows: np.where(rows.numeric[:, 1] > 5, np.nan, 0.5)
    answers = await replica.ask(*(one(n, wind=n) for n in range(10)))
    assert [answer["variant"] for _, answer in answers] == ["challenger"] * 6 + ["champion"] * 4
    assert replica.state()["guard.invalid_output"] == {"failures": 4, "trials": 10}
    assert (await replica.stop())["key"].tolist() == [f"F{n:02}" for n in range(10)]


async def test_rows_that_the_challenger_was_never_asked_count_neither_way(replica: Replica) -> None:
    await replica.route("old", "new", 10_000)
    assert replica.served.live is not None
    challenger = replica.served.live.challenger
    assert challenger is not None
    assert {answer["variant"] for _, answer in await replica.ask(one(1), one(2))} == {"challenger"}
    challenger.batcher.thread._queue_rows = 1
    assert {answer["variant"] for _, answer in await replica.ask(one(3), one(4), one(5))} == {"champion"}
    counts = replica.state()
    assert counts["challenger"] == {"rows": 2, "errors": 0, "dropped_pairs": 0, "repeats": 0, "failed_repeats": 0}
    assert counts["guard.error_rate"]["failures"] == 0
    assert (await replica.stop())["error"].str.contains("not asked").tolist() == [False] * 2 + [True] * 3


async def test_a_champion_that_fails_says_so(replica: Replica) -> None:
    await replica.route("raises")
    ((status, answer),) = await replica.ask(one(1, distance=9000))
    assert (status, answer["error"]["code"]) == (500, "version_failed")
    assert replica.state()["champion"]["errors"] == 1
    await replica.route("nan")
    ((status, answer),) = await replica.ask(one(1))
    assert (status, answer["error"]["code"]) == (500, "version_failed")
    assert replica.metrics.in_flight == 0
    assert (await replica.stop()).empty


async def test_whatever_goes_wrong_everybody_is_answered(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    await replica.route()
    assert replica.served.live is not None
    typed = replica.served.live.champion.scorer.typed
    monkeypatch.setattr(typed, "encode", None)
    answers = await replica.ask(one(1), one(2))
    assert [(status, answer["error"]["code"]) for status, answer in answers] == [(500, "internal")] * 2
    assert replica.metrics.in_flight == 0


async def test_what_is_not_plain_is_left_to_the_careful_way(replica: Replica) -> None:
    def take(body: bytes) -> bool:
        return replica.app.take(TARGET, body, lambda *_: None)

    assert not take(json.dumps(one(1)).encode())  # nothing is live yet
    await replica.route()
    two = json.dumps({"rows": [ROW, ROW]}).encode()
    late = json.dumps(one(1) | {"event_time": "2300-01-01T00:00:00Z"}).encode()
    for body in (b"{", b"", b'{"rows": []}', two, late, json.dumps(one(1, distance=-1)).encode(), b"\xff"):
        assert not take(body)
    await replica.route("old", "units")  # which have to be made of the rows as they came
    assert not take(json.dumps(one(1)).encode())
    assert not replica.app.take(b"/v1/models/unknown/predict", json.dumps(one(1)).encode(), lambda *_: None)
    assert replica.metrics.in_flight == 0


async def test_past_the_capacity_nothing_is_taken(tmp_path: Path) -> None:
    replica = Replica(tmp_path, most=2)
    await replica.route()
    waiting = replica.put(one(1), one(2))
    assert not replica.app.take(TARGET, json.dumps(one(3)).encode(), lambda *_: None)
    await asyncio.gather(*waiting)
    assert (await replica.ask(one(4)))[0][0] == 200


async def test_requests_under_way_end_with_what_they_began_with(replica: Replica) -> None:
    await replica.route("old", "new", 10_000)
    old = replica.served
    under_way = replica.put(one(1), one(2))
    await replica.route("new")
    assert {answer["predictions"][0]["version"] for _, answer in await asyncio.gather(*under_way)} <= {1, 2}
    assert replica.served is old
    assert {answer["version"] for _, answer in await replica.ask(one(1))} == {2}


async def test_a_trip_takes_the_next_request_to_the_champion(replica: Replica) -> None:
    await replica.route("old", "new", 10_000)
    live = replica.served.live
    assert live is not None
    assert live.challenger is not None
    assert (await replica.ask(one(1)))[0][1]["variant"] == "challenger"
    guard = live.challenger.guard
    for _ in range(200):
        guard.refused()
    assert replica.control.state(MODEL).tripped == "error_rate"
    assert (await replica.ask(one(1)))[0][1]["variant"] == "champion"


async def test_a_stop_waits_for_what_is_under_way_and_logs_it(replica: Replica) -> None:
    await replica.route("old", "new", 10_000)
    assert replica.served.live is not None
    challenger, hold = replica.served.live.challenger, threading.Event()
    assert challenger is not None
    score = challenger.batcher.thread._score
    challenger.batcher.thread._score = lambda rows: (hold.wait(10), score(rows))[1]
    (answer,) = replica.put(one(1))

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown"}

    async def send(message: dict[str, Any]) -> None:
        assert message["type"] == "lifespan.shutdown.complete"

    stopping = asyncio.create_task(replica.app({"type": "lifespan"}, receive, send))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    hold.set()
    await stopping
    assert answer.result()[1]["variant"] == "challenger"
    frame = ParquetPredictions(replica.folder / "log").rollout(MODEL, "r")
    assert frame["key"].tolist() == ["F01"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call counts as quick, however busy the machine is."""
    monkeypatch.setattr(trial_module, "QUICK_S", 60.0)
    monkeypatch.setattr(trial_module, "CUT_S", 60.0)


async def prove(replica: Replica) -> Challenger:
    """Ask until the challenger is asked on the event loop; returns it."""
    assert replica.served.live is not None
    challenger = replica.served.live.challenger
    assert challenger is not None
    while not challenger.batcher.proof.given:
        await replica.ask(one(1), one(2))
    return challenger


@pytest.mark.usefixtures("quick")
async def test_a_challenger_that_has_proved_quick_answers_in_the_same_turn(replica: Replica) -> None:
    await replica.route("old", "new", 10_000)
    challenger = await prove(replica)
    rows, asked = challenger.tally.rows, replica.state()["guard.error_rate"]["trials"]
    challenger.batcher.thread.submit = None  # type: ignore[assignment,method-assign]
    answers = await replica.ask(*(one(n, wind=n) for n in range(4)))
    assert {(status, answer["version"], answer["variant"]) for status, answer in answers} == {(200, 2, "challenger")}
    careful = [await replica.served.predict(read_predict(json.dumps(one(n, wind=n)).encode())) for n in range(4)]
    assert [alike(answer) for _, answer in answers] == [alike(msgspec.to_builtins(answer)) for answer in careful]
    assert challenger.tally.rows == rows + 8
    counts = replica.state()
    assert counts["guard.error_rate"] == {"failures": 0, "trials": asked + 5}
    assert counts["guard.invalid_output"]["failures"] == 0


@pytest.mark.parametrize("careful", [False, True])
async def test_a_challenger_that_hangs_after_its_proof_is_charged_and_the_champion_answers(
    replica: Replica, careful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAX, "timeout_ms", 500)
    await replica.route("old", "hangs", 10_000)
    challenger = await prove(replica)
    errors = challenger.tally.errors
    bodies = [one(n, distance=9000) for n in range(3)]
    if careful:
        asked = (replica.served.predict(read_predict(json.dumps(body).encode())) for body in bodies)
        answers = await asyncio.gather(*asked)
    else:
        answers = [answer for status, answer in await replica.ask(*bodies) if status == 200]
    assert [answer["variant"] for answer in answers] == ["champion"] * 3
    assert challenger.tally.errors == errors + 3
    assert replica.state()["guard.error_rate"]["failures"] >= 1
    assert not challenger.batcher.proof.given
    frame = await replica.stop()
    assert frame[frame["error"] != ""]["error"].str.contains("Overdue").tolist() == [True] * (errors + 3)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("wrong", "error"), [(np.nan, "InvalidOutput"), (None, "ValueError")])
async def test_a_challenger_that_goes_wrong_after_its_proof_is_charged(
    replica: Replica, wrong: float | None, error: str
) -> None:
    await replica.route("old", "new", 10_000)
    challenger = await prove(replica)

    def score(rows: Encoded) -> Any:
        if wrong is None:
            raise ValueError("no more")
        return np.full(len(rows), wrong)

    challenger.batcher._here.score = score  # type: ignore[method-assign]
    errors = challenger.tally.errors
    answers = await replica.ask(*(one(n) for n in range(3)))
    assert {(status, answer["version"], answer["variant"]) for status, answer in answers} == {(200, 1, "champion")}
    assert challenger.tally.errors == errors + 3
    counts = replica.state()
    assert counts["guard.error_rate" if wrong is None else "guard.invalid_output"]["failures"] > 0
    frame = await replica.stop()
    assert frame[frame["error"] != ""]["error"].str.contains(error).tolist() == [True] * 3
