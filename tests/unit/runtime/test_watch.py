"""Whom the watchdog restarts, and its patience."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelyard.runtime.spec import HttpCheck, ProcessSpec
from modelyard.runtime.supervise import ProcessState
from modelyard.runtime.watch import STRIKES, due

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD = NOW - timedelta(hours=1)
SPECS = (
    ProcessSpec(name="api", command=("a",), health=HttpCheck(url="u")),
    ProcessSpec(name="scheduler", command=("s",), health=HttpCheck(url="u"), depends_on=("api",)),
)


def states(**names: str) -> dict[str, ProcessState]:
    return {name: ProcessState(name, state, 1, OLD, "detail") for name, state in names.items()}


def rounds(count: int, unwell: set[str], started: datetime = OLD, **names: str) -> list[list[str]]:
    strikes: dict[str, int] = {}
    known = {n: ProcessState(n, s, 1, started, "detail") for n, s in names.items()}
    ask = lambda spec, _state: "hangs" if spec.name in unwell else None  # noqa: E731
    return [[name for name, _ in due(SPECS, known, strikes, ask, NOW)] for _ in range(count)]


def test_the_well_are_left_alone() -> None:
    assert not any(rounds(3 * STRIKES, set(), api="RUNNING", scheduler="RUNNING"))


def test_who_hangs_is_restarted_after_so_many_rounds_and_not_before() -> None:
    found = rounds(STRIKES, {"scheduler"}, api="RUNNING", scheduler="RUNNING")
    assert found[-1] == ["scheduler"]
    assert not any(found[:-1])


def test_who_waits_for_another_is_not_to_blame() -> None:
    found = rounds(2 * STRIKES, {"api", "scheduler"}, api="RUNNING", scheduler="RUNNING")
    assert {name for names in found for name in names} == {"api"}


def test_the_young_have_time() -> None:
    assert not any(rounds(3 * STRIKES, {"api"}, started=NOW, api="RUNNING", scheduler="RUNNING"))


def test_a_good_round_wipes_the_strikes() -> None:
    strikes = {"scheduler": STRIKES - 1}
    due(SPECS, states(api="RUNNING", scheduler="RUNNING"), strikes, lambda *_: None, NOW)
    assert strikes == {}


def test_who_was_given_up_is_restarted_at_once() -> None:
    assert rounds(1, set(), api="FATAL", scheduler="RUNNING") == [["api"]]


def test_who_was_stopped_on_purpose_stays_stopped() -> None:
    assert not any(rounds(3 * STRIKES, {"api"}, api="STOPPED", scheduler="STOPPED"))
