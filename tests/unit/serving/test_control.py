"""Kept state: the later one stays, whichever thread is quicker; one model that is broken stops no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures.bundles import MODEL, SIGNATURE, write_bundle_of
from fixtures.keys import TRUST

from modelyard.core.errors import ConfigError
from modelyard.ports.fleet import Route, Trip
from modelyard.release.signature import Input, Signature
from modelyard.serving import control as control_module
from modelyard.serving.control import Control, Kept, StateFiles
from modelyard.serving.errors import Refusal
from modelyard.serving.files import write_atomically
from modelyard.serving.log import PredictionLog
from modelyard.serving.online import OnlineStore


def kept(generation: int) -> Kept:
    return Kept(generation=generation, route=Route(model="m", champion=None))


def test_what_was_handed_over_later_is_not_overwritten_by_earlier(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    earlier, later = files.writer("m", kept(1)), files.writer("m", kept(2))
    later()
    earlier()
    assert Kept.from_json(files.paths()[0].read_bytes()) == kept(2)
    files.writer("m", kept(3))()
    assert [Kept.from_json(p.read_bytes()).generation for p in files.paths()] == [3]
    assert list(tmp_path.iterdir()) == files.paths()


def replica(folder: Path, broken: bool) -> Control:
    """A replica with a store; ``broken``: the model.yaml that says how long features hold cannot be read."""

    class Store:
        async def fetch(self, query: str, *args: object) -> list[list[object]]:
            raise AssertionError("nothing is asked for here")

    def ttl(model: str, view: str) -> None:
        if broken:
            raise ConfigError("feature_views", "?", "a mapping")

    log = PredictionLog(folder / "log", "gateway-1")
    return Control("gateway-1", folder / "state", log, OnlineStore(Store(), ttl), trust=lambda: TRUST)


@pytest.mark.anyio
async def test_a_model_whose_views_cannot_be_read_is_broken_and_stops_no_other(tmp_path: Path) -> None:
    views = tuple(i if i.name != "wind" else Input(**i.to_dict() | {"source": "weather"}) for i in SIGNATURE.inputs)
    viewed = Signature(model="views", key="flight", inputs=views, entities={"weather": {"origin": "from"}})
    plain = Route(model=MODEL, champion=write_bundle_of(tmp_path / "plain")[1])
    route = Route(model="views", champion=write_bundle_of(tmp_path / "views", model="views", signature=viewed)[1])
    first = replica(tmp_path, broken=False)
    for each in (plain, route):
        await first.apply(each, 1)
    again = replica(tmp_path, broken=True)
    await again.restore()
    assert set(again.broken) == {"views"}
    assert again.find(MODEL).live is not None
    with pytest.raises(Refusal, match="feature_views") as refused:
        await again.apply(route, 2)
    assert (refused.value.status, refused.value.code) == (422, "features_refused")


@pytest.mark.anyio
async def test_any_fault_of_a_kept_state_is_that_models_alone(tmp_path: Path) -> None:
    plain = Route(model=MODEL, champion=write_bundle_of(tmp_path / "plain")[1])
    await replica(tmp_path, broken=False).apply(plain, 1)
    path = tmp_path / "state" / f"{MODEL}.json"
    odd = Kept.from_json(path.read_bytes()).model_copy(update={"tallies": {"champion": {"no_such": 1}}})
    (tmp_path / "state" / "another.json").write_text(odd.to_json())
    path.write_text(odd.to_json())
    again = replica(tmp_path, broken=False)
    await again.restore()
    assert set(again.broken) == {MODEL, "another"}


def tripped_elsewhere(folder: Path, route: Route, rollout: str = "r") -> None:
    """As another replica records it."""
    assert route.challenger is not None
    trip = Trip(
        replica="gateway-2", model=MODEL, rollout=rollout, challenger=route.challenger.release, generation=1,
        guardrail="error_rate", at=datetime.now(UTC),
    )  # fmt: skip
    write_atomically(
        folder / "log" / MODEL / "events" / f"gateway-2-00000000-00000001~{rollout}.json", trip.to_json().encode()
    )


@pytest.mark.anyio
async def test_a_replica_that_was_away_asks_nothing_of_a_challenger_that_tripped_meanwhile(tmp_path: Path) -> None:
    champion, challenger = (write_bundle_of(tmp_path / str(n), version=n)[1] for n in (1, 2))
    route = Route(model=MODEL, champion=champion, challenger=challenger, weight=500, rollout="r")
    await replica(tmp_path, broken=False).apply(route, 1)
    for rollout, tripped in (("another", ""), ("r", "error_rate (on gateway-2)")):
        tripped_elsewhere(tmp_path, route, rollout)
        again, new = replica(tmp_path, broken=False), replica(tmp_path, broken=False)
        await again.restore()
        (tmp_path / "state" / f"{MODEL}.json").rename(tmp_path / "kept")
        told = await new.apply(route, 1)  # one that has never heard of the model
        (tmp_path / "kept").rename(tmp_path / "state" / f"{MODEL}.json")
        for state in (again.state(MODEL), told):
            assert (state.tripped, state.weight) == (tripped, 0 if tripped else 500)


@pytest.mark.anyio
async def test_evidence_is_written_no_oftener_than_it_has_to_be_and_at_an_orderly_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, challenger = (write_bundle_of(tmp_path / str(n), version=n)[1] for n in (1, 2))
    control, written = replica(tmp_path, broken=False), []
    await control.apply(Route(model=MODEL, champion=champion, challenger=challenger, weight=500, rollout="r"), 1)
    monkeypatch.setattr(control_module, "EVIDENCE_S", 3600.0)
    monkeypatch.setattr(control._log, "submit", lambda write: (write(), written.append(kept_of(tmp_path))))
    for _ in range(5):
        control.save_evidence()
    live = control.find(MODEL).live
    assert live is not None
    assert live.challenger is not None
    live.challenger.guard.refused()
    control.save_evidence()
    assert [kept.guard_counts["error_rate"]["trials"] for kept in written] == [0]
    control.close()
    control.save_evidence()
    assert [kept.guard_counts["error_rate"]["trials"] for kept in written] == [0, 1, 1]
    again = replica(tmp_path, broken=False)
    await again.restore()
    assert again.state(MODEL).counts["guard.error_rate"]["trials"] == 1


def kept_of(folder: Path) -> Kept:
    return Kept.from_json((folder / "state" / f"{MODEL}.json").read_bytes())
