"""A version on trial is asked on the event loop once it has proved quick, and never holds it up for long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.bundles import ROW, graph, write_bundle_of

from modelyard.release.bundle import read_bundle
from modelyard.serving import trial as trial_module
from modelyard.serving.batcher import Overdue, Scores
from modelyard.serving.encoding import Encoded
from modelyard.serving.scorer import WAITING, Call, Interrupted, Scorer, age
from modelyard.serving.trial import CUT_S, FIRST_PROOF, MOST_ROWS, Trial, Watchdog

pytestmark = pytest.mark.anyio
Calls = list[bool]


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    """It hangs for distances above 5,000."""
    release, arm = write_bundle_of(tmp_path, onnx=graph(fault="hang"))
    return Scorer(release, release.digest, read_bundle(arm.bundle).files)


def rows(scorer: Scorer, *distances: float) -> Encoded:
    return scorer.encoder.encode([ROW | {"distance": distance} for distance in distances])


async def proved(scorer: Scorer, calls: Calls, *, limit_s: float = 60.0) -> Trial:
    trial = Trial(lambda: Call(scorer), limit_s=limit_s, on_call=lambda failed, _: calls.append(failed))
    while not trial.proof.given:
        assert trial.at_once(rows(scorer, 1)) is None
        with suppress(Overdue):
            await trial.submit(rows(scorer, 1))
    return trial


async def test_a_quick_version_earns_its_place_and_answers_alike(scorer: Scorer, clocks: Clocks) -> None:
    calls: Calls = []
    trial = await proved(scorer, calls)
    assert len(calls) >= FIRST_PROOF
    before = len(calls)
    scores = trial.at_once(rows(scorer, 1, 2))
    assert scores is not None
    assert scores.tolist() == scorer.score(rows(scorer, 1, 2)).tolist()
    assert calls[before:] == [False]
    assert trial.at_once(rows(scorer, *range(MOST_ROWS + 1))) is None
    trial.close()
    assert trial.at_once(rows(scorer, 1)) is None


async def test_a_graph_that_hangs_is_cut_short_and_charged_by_its_thread(scorer: Scorer) -> None:
    calls: Calls = []
    trial = await proved(scorer, calls, limit_s=0.5)
    before = len(calls)
    assert trial.at_once(rows(scorer, 9000)) is None  # comes back at all: nothing else ends this graph
    assert calls[before:] == []
    assert not trial.proof.given
    with pytest.raises(Overdue):
        await trial.submit(rows(scorer, 9000))
    assert calls[before:] == [True]
    while trial.thread._stuck:  # noqa: ASYNC110  its call is ended, too, and does not burn a core for ever
        await asyncio.sleep(0.005)
    assert trial.at_once(rows(scorer, 1)) is None
    (scores, _) = await trial.submit(rows(scorer, 1))
    assert scores.tolist() == scorer.score(rows(scorer, 1)).tolist()
    trial.close()


async def test_what_was_cut_short_has_to_be_proved_for_longer(scorer: Scorer) -> None:
    trial = await proved(scorer, [])
    assert trial.at_once(rows(scorer, 9000)) is None
    needed = 0
    while not trial.proof.given:
        await trial.submit(rows(scorer, 1))
        needed += 1
    assert needed >= 2 * FIRST_PROOF
    trial.close()


class Fake:
    """A call whose score is a function; it cannot be interrupted."""

    under_way = False

    def __init__(self, score: Callable[[Encoded], Scores]) -> None:
        self.score = score

    def interrupt(self, older_than_s: float = 0.0) -> None:
        """Nothing to end."""


class Clocks:
    """A machine whose time passes only where a test says so: gone by, and spent by its one thread."""

    def __init__(self) -> None:
        self.now = self.spent = 0.0

    def perf_counter(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.spent

    def age(self) -> Callable[[], float]:
        began, spent = self.now, self.spent
        return lambda: max(self.spent - spent, WAITING * (self.now - began))


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    told = SimpleNamespace(perf_counter=clocks.perf_counter, thread_time=clocks.thread_time, sleep=time.sleep)
    monkeypatch.setattr(trial_module, "time", told)
    monkeypatch.setattr(trial_module, "age", clocks.age)
    return clocks


@pytest.mark.parametrize(("takes_s", "failed"), [(2 * CUT_S, False), (61.0, True)])
async def test_a_call_that_overruns_and_cannot_be_ended_is_the_last_of_its_kind(
    scorer: Scorer, clocks: Clocks, takes_s: float, failed: bool
) -> None:
    """It waits without using the processor, as for a GPU: what users of the champion lose is time, not work."""
    calls, waits = Calls(), [0.0]

    def score(given: Encoded) -> Scores:
        clocks.now += waits[0]
        return np.zeros(len(given))

    trial = Trial(lambda: Fake(score), limit_s=60.0, on_call=lambda failed, _: calls.append(failed))
    while not trial.proof.given:
        await trial.submit(rows(scorer, 1))
    waits[0] = 2 * CUT_S
    assert trial.at_once(rows(scorer, 1)) is not None  # once it may be the machine that is busy
    before, waits[0] = len(calls), takes_s
    with pytest.raises(Overdue) if failed else nullcontext():
        assert trial.at_once(rows(scorer, 1)) is not None
    assert calls[before:] == [failed]
    assert trial.at_once(rows(scorer, 1)) is None
    trial.close()


async def test_a_version_that_is_slow_is_left_to_its_thread(scorer: Scorer, clocks: Clocks) -> None:
    slow = [False]

    def score(given: Encoded) -> Scores:
        clocks.spent += 0.01 if slow[0] else 0.0
        return np.zeros(len(given))

    trial = Trial(lambda: Fake(score), limit_s=60, on_call=lambda *_: None)
    for _ in range(FIRST_PROOF):
        await trial.submit(rows(scorer, 1))
    assert trial.at_once(rows(scorer, 1)) is not None
    slow[0] = True
    assert trial.at_once(rows(scorer, 1)) is not None  # the answer is good, and the last one of this kind
    for _ in range(2 * FIRST_PROOF):
        assert trial.at_once(rows(scorer, 1)) is None
        await trial.submit(rows(scorer, 1))
    slow[0] = False
    for _ in range(FIRST_PROOF):
        assert trial.at_once(rows(scorer, 1)) is None
        await trial.submit(rows(scorer, 1))
    assert trial.at_once(rows(scorer, 1)) is not None
    trial.close()


async def test_a_version_that_raises_is_charged_once_and_left_to_its_thread(scorer: Scorer, clocks: Clocks) -> None:
    calls: Calls = []
    wrong: list[Exception] = []

    def score(given: Encoded) -> Scores:
        if wrong:
            raise wrong[0]
        return np.zeros(len(given))

    trial = Trial(lambda: Fake(score), limit_s=60, on_call=lambda failed, _: calls.append(failed))
    for _ in range(FIRST_PROOF):
        await trial.submit(rows(scorer, 1))
    wrong.append(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        trial.at_once(rows(scorer, 1))
    assert calls == [False] * FIRST_PROOF + [True]
    assert trial.at_once(rows(scorer, 1)) is None
    trial.close()


def test_a_late_interrupt_never_meets_the_next_call(scorer: Scorer) -> None:
    call = Call(scorer)
    call.interrupt()  # nothing is under way
    assert len(call.score(rows(scorer, 1))) == 1
    ended = threading.Timer(0.02, call.interrupt)
    ended.start()
    with pytest.raises(Interrupted):
        call.score(rows(scorer, 9000))
    assert not call.under_way
    call.interrupt(older_than_s=0.0)
    assert len(call.score(rows(scorer, 1))) == 1


def test_the_watchdog_wakes_from_its_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_module, "_IDLE_LOOKS", 1)
    asked = threading.Event()

    class Watched(Fake):
        def interrupt(self, older_than_s: float = 0.0) -> None:
            asked.set()

    dog = Watchdog(Watched(lambda given: np.zeros(len(given))), 0.0, 0.001)
    for _ in range(3):
        asked.clear()
        dog.watch()
        assert asked.wait(10)
        while not dog._asleep:
            dog._wake.wait(0.001)
    dog.close()
    assert dog._thread is not None
    dog._thread.join(10)
    assert not dog._thread.is_alive()


def test_waiting_for_a_processor_ages_a_call_less_than_work_does() -> None:
    waited = age()
    time.sleep(0.1)
    assert waited() < 0.1
    worked = age()
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    assert worked() >= 0.05
    asked: list[float] = []
    other = threading.Thread(target=lambda: asked.append(worked()))
    other.start()
    other.join()
    assert asked[0] >= 0.05  # it is the age of the thread that began, whoever asks
