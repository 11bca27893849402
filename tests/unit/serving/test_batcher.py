"""Micro-batches: one call a turn; a version that raises, hangs or is taken off keeps nobody waiting."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from modelyard.serving.batcher import Dropped, LoopBatcher, Overdue, Scores, ThreadBatcher
from modelyard.serving.encoding import Encoded

pytestmark = pytest.mark.anyio


def rows(*values: float) -> Encoded:
    numeric = np.array([[v] for v in values], dtype=np.float32)
    return Encoded(numeric, np.zeros((len(values), 0), dtype=np.int64), ((),) * len(values))


class Version:
    """Answers each row with its own number; counts its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.release = threading.Event()
        self.release.set()

    def score(self, batch: Encoded) -> Scores:
        self.sizes.append(len(batch))
        assert self.release.wait(10)
        if (batch.numeric < 0).any():
            raise ValueError("no negative numbers")
        return batch.numeric[:, 0].astype(np.float64)


async def test_requests_of_one_turn_share_one_call() -> None:
    version = Version()
    batcher = LoopBatcher(version.score)
    answers = await asyncio.gather(*(batcher.submit(rows(float(n), n + 0.5)) for n in range(5)))
    assert version.sizes == [10]
    assert [a.tolist() for a in answers] == [[n, n + 0.5] for n in range(5)]


async def test_a_failure_reaches_its_batch_and_no_other() -> None:
    version = Version()
    batcher = LoopBatcher(version.score)
    with pytest.raises(ValueError, match="negative"):
        await batcher.submit(rows(-1.0))
    assert (await batcher.submit(rows(1.0))).tolist() == [1.0]


async def test_a_thread_is_charged_per_call() -> None:
    version, calls = Version(), []
    batcher = ThreadBatcher(version.score, limit_s=5, on_call=lambda failed, _: calls.append(failed))
    answers = await asyncio.gather(*(batcher.submit(rows(float(n))) for n in range(3)))
    assert [scores.tolist() for scores, _ in answers] == [[0.0], [1.0], [2.0]]
    with pytest.raises(ValueError, match="negative"):
        await batcher.submit(rows(-1.0))
    assert calls == [False, True]
    batcher.close()


async def test_a_version_that_hangs_holds_up_nobody_for_longer_than_its_limit() -> None:
    version, calls = Version(), []
    batcher = ThreadBatcher(version.score, limit_s=0.02, on_call=lambda failed, _: calls.append(failed))
    version.release.clear()
    first = batcher.submit(rows(1.0))
    await asyncio.sleep(0)
    second = batcher.submit(rows(2.0))
    for future in (first, second):
        with pytest.raises(Overdue):
            await future
    assert isinstance(batcher.submit(rows(3.0)).exception(), Overdue)
    version.release.set()
    while True:  # until the thread has come back
        future = batcher.submit(rows(4.0))
        if not future.done():
            break
        future.exception()
        await asyncio.sleep(0.005)
    scores, _ = await future
    assert scores.tolist() == [4.0]
    assert calls == [True, False]
    batcher.close()


async def test_a_full_queue_drops() -> None:
    version = Version()
    batcher = ThreadBatcher(version.score, limit_s=5, on_call=lambda *_: None, queue_rows=2)
    taken = batcher.submit(rows(1.0, 2.0))
    assert isinstance(batcher.submit(rows(3.0)).exception(), Dropped)
    await taken
    batcher.close()


async def test_a_version_that_is_taken_off_answers_what_is_under_way() -> None:
    version = Version()
    batcher = ThreadBatcher(version.score, limit_s=5, on_call=lambda *_: None)
    version.release.clear()
    under_way = batcher.submit(rows(1.0))
    await asyncio.sleep(0)
    waiting = batcher.submit(rows(2.0))
    batcher.close()
    version.release.set()
    assert (await under_way)[0].tolist() == [1.0]
    with pytest.raises(Dropped):
        await waiting
    assert isinstance(batcher.submit(rows(3.0)).exception(), Dropped)


async def test_what_is_handed_over_together_is_asked_in_small_calls_that_fail_alone() -> None:
    version, calls = Version(), []
    batcher = ThreadBatcher(version.score, limit_s=5, on_call=lambda failed, _: calls.append(failed), call_rows=3)
    futures = [batcher.submit(rows(*given)) for given in ((1.0, 2.0), (3.0, 4.0), (-5.0,), (6.0,), tuple(range(9)))]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert version.sizes == [2, 3, 1, 9]
    assert calls == [False, True, False, False]
    assert [isinstance(answer, ValueError) for answer in answers] == [False, True, True, False, False]
    assert answers[4][0].tolist() == list(range(9))
    batcher.close()


async def test_the_limit_is_one_calls_and_not_the_hand_overs() -> None:
    version, calls = Version(), []

    def slow(batch: Encoded) -> Scores:
        threading.Event().wait(0.1)
        return version.score(batch)

    batcher = ThreadBatcher(slow, limit_s=1, on_call=lambda failed, _: calls.append(failed), call_rows=1)
    await asyncio.gather(*(batcher.submit(rows(float(n))) for n in range(11)))  # 1.1 s together
    assert calls == [False] * 11
    batcher.close()


async def test_a_call_that_is_overdue_is_interrupted() -> None:
    version = Version()
    version.release.clear()
    batcher = ThreadBatcher(
        version.score, limit_s=0.02, on_call=lambda *_: None, call_rows=1, interrupt=version.release.set
    )
    futures = [batcher.submit(rows(1.0)), batcher.submit(rows(2.0))]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Overdue, Overdue]
    while batcher._stuck:  # noqa: ASYNC110  nothing tells
        await asyncio.sleep(0.005)
    assert version.sizes == [1]  # nobody waited for the rest
    assert (await batcher.submit(rows(3.0)))[0].tolist() == [3.0]
    batcher.close()
