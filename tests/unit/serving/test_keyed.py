"""Requests by key are answered the quick way as the careful one answers them: values, refusals, counts and log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fixtures.bundles import MODEL, ROW, SIGNATURE, graph, write_bundle_of
from fixtures.keys import TRUST
from hypothesis import given
from hypothesis import strategies as st

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.features.online import Looked, encode, entity_key
from modelyard.ports.fleet import Route
from modelyard.release.signature import Signature
from modelyard.serving.app import App
from modelyard.serving.control import Control
from modelyard.serving.encoding import Encoder
from modelyard.serving.errors import Refusal
from modelyard.serving.keyed import keyed_rows
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import Metrics
from modelyard.serving.online import OnlineStore
from modelyard.serving.requests import read_predict
from modelyard.serving.typed import NOT_PLAIN, typed_rows, values

TARGET = f"/v1/models/{MODEL}/predict".encode()
NOW, LATER = datetime(2013, 4, 9, 12, tzinfo=UTC), "2013-04-09T12:00:00Z"
DISTANCE, WIND, CARRIER = SIGNATURE.inputs
BY_KEY = SIGNATURE.model_copy(
    update={
        "entities": {"weather": {"origin": "from"}, "maker": {"tail": "carrier"}},
        "inputs": (
            DISTANCE.model_copy(update={"source": "maker", "nullable": True}),
            WIND.model_copy(update={"source": "weather", "nullable": False, "low": 0, "high": 100}),
            CARRIER,
        ),
    }
)
KEYED = {"flight": "UA1", "from": "EWR", "carrier": "UA"}
Value = tuple[bytes, float]
"""As it is stored, and the hours of its age."""


class Store:
    """Tables in memory, in Feast's forms. ``broken`` makes it fail; statements are counted."""

    def __init__(self) -> None:
        self.wind: dict[str, Value] = {
            "EWR": (encode(12.5), 0), "LGA": (encode(7.0), 4), "JFK": (encode(-1.0), 0), "BOS": (encode("calm"), 0),
        }  # fmt: skip
        self.statements, self.broken = 0, False

    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
        self.statements += 1
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("gone")
        tables = [("origin", "wind", self.wind), ("tail", "distance", {"UA": (encode(900.0), 0)})]
        order = [tables[1], tables[0]]  # as the inputs have them
        return [
            (place, entity_key(join, text), feature, value, NOW - timedelta(hours=age))
            for place, (join, feature, rows) in enumerate(order)
            for text, (value, age) in rows.items()
            if entity_key(join, text) in args[place]
        ]


class Replica:
    """A gateway without its HTTP server, and its store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store()
        self.log = PredictionLog(folder / "log", "gateway-1")
        self.online = OnlineStore(self.store, lambda *_: timedelta(hours=3))
        self.control = Control("gateway-1", folder / "state", self.log, self.online, trust=lambda: TRUST)
        self.metrics = Metrics(self.control, self.log)
        self.app = App(self.control, self.log, self.metrics, None)

    async def route(self, signature: Signature, weight: int = 0) -> None:
        _, old = write_bundle_of(self.folder / "old", version=1, signature=signature)
        _, new = write_bundle_of(self.folder / "new", version=2, signature=signature, onnx=graph(bias=0.2))
        route = Route(
            model=MODEL, champion=old, challenger=new if weight else None, weight=weight, salt="s", rollout="r",
        )  # fmt: skip
        await self.control.apply(route, 1)

    def take(self, body: Any) -> asyncio.Future[tuple[int, Any]] | None:
        answer: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()
        taken = self.app.take(
            TARGET, json.dumps(body).encode(), lambda status, data: answer.set_result((status, json.loads(data)))
        )
        return answer if taken else None

    async def quick(self, *bodies: Any) -> list[tuple[int, Any]]:
        """Answers to requests of one turn, each of which must be taken."""
        answers = [answer for answer in map(self.take, bodies) if answer is not None]
        assert len(answers) == len(bodies)
        return await asyncio.wait_for(asyncio.gather(*answers), 60)

    async def careful(self, body: Any) -> tuple[int, Any]:
        try:
            answer = await self.control.find(MODEL).predict(read_predict(json.dumps(body).encode()))
            return 200, msgspec.to_builtins(answer)
        except Refusal as refusal:
            return refusal.status, json.loads(json.dumps(refusal.body()))

    def counted(self) -> dict[str, int]:
        """What the store's tally has gained since the last time."""
        tally = asdict(self.online.tally)
        self.online.tally.__init__()  # type: ignore[misc]
        return tally


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    made = Replica(tmp_path)
    yield made
    made.control.close()
    await made.log.close()


def body(**change: Any) -> dict[str, Any]:
    return {"rows": [KEYED | change], "event_time": LATER}


def alike(answer: tuple[int, Any]) -> Any:
    """Without what is another one's each time."""
    said = json.loads(json.dumps(answer))
    for one in [said[1], *said[1].get("predictions", [])]:
        one.pop("request_id", None)
    return said


@pytest.mark.anyio
@pytest.mark.parametrize("weight", [0, 5000])
async def test_it_answers_refuses_and_counts_as_the_careful_way_does(replica: Replica, weight: int) -> None:
    await replica.route(BY_KEY, weight)
    bodies = [body(**{"flight": f"F{n}", "from": at}) for n, at in enumerate(["EWR", "LGA", "JFK", "BOS", "none"] * 2)]
    bodies += [body(carrier="??"), body(carrier=7), body(flight=7), body(more=[1]), body(flight='é "\\\n')]
    quick = [(await replica.quick(each))[0] for each in bodies]
    assert {status for status, _ in quick} == {200, 422}
    counted = replica.counted()
    assert [alike(each) for each in quick] == [alike(await replica.careful(each)) for each in bodies]
    assert counted == replica.counted()
    assert counted == {"missing": 4, "expired": 2, "out_of_bounds": 4, "failed": 0}
    assert replica.metrics.in_flight == 0


@pytest.mark.anyio
async def test_the_requests_of_a_turn_share_a_statement_and_are_logged(replica: Replica) -> None:
    await replica.route(BY_KEY)
    given = {"rows": [ROW | {"flight": "given", "wind": 1.0}], "event_time": LATER}
    bodies = [*(body(flight=f"F{n}") for n in range(5)), given, body(**{"flight": "none", "from": "none"})]
    answers = await replica.quick(*bodies)
    assert [status for status, _ in answers] == [200] * 6 + [422]
    assert answers[-1][1]["error"]["field"] == "wind"
    assert replica.store.statements == 1
    replica.control.close()
    await replica.log.close()
    frame = ParquetPredictions(replica.folder / "log").rollout(MODEL, "r").sort_values("key")
    assert frame["key"].tolist() == [*(f"F{n}" for n in range(5)), "given"]
    assert frame["wind"].tolist() == [12.5] * 5 + [1.0]
    assert frame["distance"].tolist() == [900.0] * 5 + [ROW["distance"]]


@pytest.mark.anyio
async def test_a_store_that_does_not_answer_is_no_missing_value(replica: Replica) -> None:
    await replica.route(BY_KEY)
    replica.store.broken = True
    answers = await replica.quick(body(), body())
    assert [(status, said["error"]["code"]) for status, said in answers] == [(503, "features_unavailable")] * 2
    assert (replica.counted()["failed"], replica.metrics.in_flight) == (2, 0)
    replica.store.broken = False
    assert (await replica.quick(body()))[0][0] == 200


@pytest.mark.anyio
async def test_what_is_not_plain_is_left_to_the_careful_way(replica: Replica) -> None:
    await replica.route(BY_KEY)
    without = {name: value for name, value in KEYED.items() if name != "from"}
    for change in ({"wind": 3.0}, {"wind": None}, {"carrier": None}, {"from": None}, {"from": 1.5}, {"flight": ""}):
        assert replica.take(body(**change)) is None
    for wrong in ({"rows": [without]}, {"rows": [KEYED, KEYED]}, body() | {"probe": True}, body() | {"x": 1}):
        assert replica.take(wrong) is None
    assert replica.metrics.in_flight == 0


def test_only_signatures_whose_entities_are_texts_have_a_decoder() -> None:
    assert keyed_rows(BY_KEY) is not None
    assert keyed_rows(SIGNATURE) is None
    for field in ("distance", "wind", 'a "name"'):
        assert keyed_rows(BY_KEY.model_copy(update={"entities": BY_KEY.entities | {"weather": {"o": field}}})) is None


anything = st.none() | st.booleans() | st.integers() | st.floats(-2e4, 2e4) | st.sampled_from(["", "UA", 7.0, 1e300])
stored = st.none() | st.text(max_size=3) | st.floats(allow_nan=False) | st.sampled_from([50.0, 1e300])
rows = st.fixed_dictionaries({name: anything | st.just(value) for name, value in KEYED.items()}) | st.just(KEYED)


@given(row=rows, wind=stored, distance=stored)
def test_what_is_plain_means_the_same_to_the_careful_way(row: dict[str, Any], wind: Any, distance: Any) -> None:
    keyed, typed, found = keyed_rows(BY_KEY), typed_rows(BY_KEY), {"distance": distance, "wind": wind}
    assert keyed is not None
    assert typed is not None
    try:
        given = values(keyed.decode(json.dumps({"rows": [row]}).encode()).rows[0])
    except NOT_PLAIN:
        return
    entities = keyed.entities(given)
    if entities is None:
        return
    assert {field: str(text) for field, text in entities.items()} == {f: str(row[f]) for f in ("from", "carrier")}
    complete, careful = keyed.filled(given, Looked(found).values), found | row
    if complete is None:
        with pytest.raises(Refusal):
            Encoder(BY_KEY).encode([careful])
        with pytest.raises(Refusal):
            Encoder(BY_KEY).encode([keyed.as_row(given, found)])
        return
    expected, (encoded, keys) = Encoder(BY_KEY).encode([careful]), typed.encode([complete])
    assert encoded.numeric.tobytes() == expected.numeric.tobytes()
    assert (encoded.categorical.tolist(), encoded.texts) == (expected.categorical.tolist(), expected.texts)
    assert keys == [str(row["flight"])]
