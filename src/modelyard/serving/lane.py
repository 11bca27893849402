"""The quick way for plain requests of one row: those of one turn of the event loop are answered together.

One decode per request; one encoding, split, score, log entry and comparison for all of a turn. No future and no task
per request: whoever asks leaves a callback. The rules are those of ``served``, which answers everything else: a
challenger that raises, hangs or answers nonsense never reaches the user; the champion answers, the challenger is
charged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from modelyard.features.online import Scalar
from modelyard.serving.answers import Asked, InvalidOutput, Part, Scores, Template
from modelyard.serving.batcher import Dropped, Timed
from modelyard.serving.encoding import Encoded
from modelyard.serving.errors import Refusal
from modelyard.serving.keyed import KeyedRows
from modelyard.serving.live import Challenger, Live
from modelyard.serving.requests import microseconds, moment, plausible
from modelyard.serving.scorer import valid
from modelyard.serving.typed import NOT_PLAIN, TypedRows, Values, values
from modelyard.serving.usage import Usage

_log = logging.getLogger(__name__)
Reply = Callable[[int, bytes], None]
"""Sends status and body; never raises."""
Keep = Callable[[Live, Part, Asked, list[float]], None]
"""Logs a part, and has it compared; is given the latency of each of its rows in milliseconds."""
Count = Callable[[str, int, Sequence[float]], None]
"""Is told of answers: the model, their status, the milliseconds that each took."""


Waiting = tuple[Values, int, int, str, Reply, float]
"""A request that waits for the end of its turn: row, event and arrival in microseconds, id, reply, start."""


class _Turn:
    """The requests of one turn. A reply that was given is None from then on, so that none is given twice."""

    encoded: Encoded
    asked: Asked

    def __init__(self, waiting: Sequence[Waiting]) -> None:
        self._waiting = waiting
        self.rows, self.event_us, self._served_us, self._ids, replies, self.starts = zip(*waiting, strict=True)
        self.places = list(range(len(waiting)))
        self.replies: list[Reply | None] = list(replies)

    def order(self, places: list[int]) -> None:
        """Put the requests into this order; only before they are encoded and answered."""
        self.__init__([self._waiting[place] for place in places])  # type: ignore[misc]

    def encode(self, typed: TypedRows) -> None:
        """Make tensors of the rows."""
        self.encoded, keys = typed.encode(self.rows)
        self.asked = Asked((), keys, list(self._ids), list(self.event_us), list(self._served_us))


class Lane:
    """The quick way into one live value; requests that it took end with that value whatever is swapped meanwhile."""

    def __init__(
        self, live: Live, typed: TypedRows, new_id: Callable[[], str], keep: Keep, count: Count, usage: Usage
    ) -> None:
        self._live, self._typed, self._new_id, self._keep, self._count = live, typed, new_id, keep, count
        self._usage = usage
        self._model, self._decode = live.route.model, typed.decode
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Waiting] = []
        keyed = live.champion.scorer.keyed
        self._keyed = keyed if keyed is not None and keyed.fields == live.completion.fields else None
        self._by_key: list[Waiting] = []
        self._by_key_last = False  # whether the last request was one: the next is likely to be alike
        self._reading: set[asyncio.Task[None]] = set()
        self._champion = Template(self._model, "champion", live.champion.scorer)
        self._challenger: Template | None = None
        if live.challenger is not None:
            self._challenger = Template(self._model, "challenger", live.challenger.scorer)

    def take(self, body: bytes, reply: Reply, request_id: str = "") -> bool:
        """Whether this is a plain request; then ``reply`` is called once, with status and body, in a later turn.

        ``request_id`` is the client's own, or empty.
        """
        read = self._read(body)
        if read is None:
            return False
        request, row, waiting, answer = read
        served_us = event_us = time.time_ns() // 1000
        if request.event_time is not None:
            if not plausible(request.event_time):
                return False
            event_us = microseconds(request.event_time, served_us)
        if not waiting:
            self._loop.call_soon(answer)
        waiting.append((row, event_us, served_us, request_id or self._new_id(), reply, time.perf_counter()))
        return True

    def _read(self, body: bytes) -> tuple[Any, Values, list[Waiting], Callable[[], None]] | None:
        """A plain request, its row, where it waits, and what answers all that wait there."""
        if self._by_key_last and (found := self._read_by_key(body)) is not None:
            return found
        try:
            request = self._decode(body)
        except NOT_PLAIN:
            return None if self._by_key_last else self._read_by_key(body)
        self._by_key_last = False
        return request, values(request.rows[0]), self._waiting, self._flush

    def _read_by_key(self, body: bytes) -> tuple[Any, Values, list[Waiting], Callable[[], None]] | None:
        if self._keyed is None:
            return None
        try:
            request = self._keyed.decode(body)
        except NOT_PLAIN:
            return None
        row = values(request.rows[0])
        if self._keyed.entities(row) is None:
            return None
        self._by_key_last = True
        return request, row, self._by_key, self._flush_by_key

    def _flush_by_key(self) -> None:
        waiting, self._by_key = self._by_key, []
        task = self._loop.create_task(self._complete(waiting))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _complete(self, waiting: Sequence[Waiting]) -> None:
        """Read what the requests of a turn need from the online store, in one statement, and answer them."""
        turn, keyed = _Turn(waiting), self._keyed
        assert keyed is not None  # noqa: S101  only such requests wait here
        try:
            entities = [keyed.entities(row) or {} for row in turn.rows]
            stored = await self._live.completion.features(entities, [moment(at) for at in turn.event_us])
        except Exception as error:  # noqa: BLE001  whatever it is, nobody is left without an answer
            self._safely(turn, turn.places, _raise, error)
        else:
            self._safely(turn, turn.places, self._filled, turn, waiting, keyed, stored)

    def _filled(
        self, turn: _Turn, waiting: Sequence[Waiting], keyed: KeyedRows, stored: Sequence[dict[str, Scalar]]
    ) -> None:
        complete = []
        for place, (one, found) in enumerate(zip(waiting, stored, strict=True)):
            row = keyed.filled(one[0], found)
            if row is None:  # the encoder says which value it is
                self._safely(turn, [place], self._name, keyed.as_row(one[0], found))
            else:
                complete.append((row, *one[1:]))
        if complete:
            whole = _Turn(complete)
            self._safely(whole, whole.places, self._split, whole)

    def _name(self, row: dict[str, Any]) -> None:
        """Refuse a row by the value that is not accepted."""
        self._live.champion.scorer.encoder.encode([row])
        raise RuntimeError("the two encoders differ")

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        turn = _Turn(waiting)
        self._safely(turn, turn.places, self._split, turn)

    def _split(self, turn: _Turn) -> None:
        mine, theirs = turn.places, list[int]()
        if self._live.weight:
            mine, theirs = self._live.split(self._typed.keys(turn.rows))
        if mine and theirs:  # each version's rows beside each other: then none has to be copied for it
            turn.order([*mine, *theirs])
            mine, theirs = turn.places[: len(mine)], turn.places[len(mine) :]
        turn.encode(self._typed)
        if mine:
            self._safely(turn, mine, self._by_champion, turn, mine)
        if theirs and self._live.challenger is not None:
            self._safely(turn, theirs, self._by_challenger, turn, theirs, self._live.challenger)

    def _safely(self, turn: _Turn, places: list[int], work: Callable[..., None], *args: Any) -> None:
        """Nobody is left without an answer, whatever goes wrong here."""
        try:
            work(*args)
        except Refusal as refusal:
            self._refuse(turn, places, refusal)
        except Exception:  # noqa: BLE001  see above; the log has the cause
            _log.exception("%s: %d requests failed", self._model, len(places))
            self._refuse(turn, places, Refusal(500, "internal", "the gateway failed; see its log"))

    def _by_champion(self, turn: _Turn, places: list[int], error: str = "") -> None:
        tally, scorer = self._live.champion.tally, self._live.champion.scorer
        if not error:
            tally.rows += len(places)
        encoded = turn.encoded if len(places) == len(turn.places) else turn.encoded.take(places)
        try:
            scores = self._live.champion.spending.score(encoded)
        except Exception as failure:  # noqa: BLE001  whatever the graph raises belongs to these requests
            self._failed(turn, places, failure)
            return
        part = Part(places, "champion", scorer, scores, encoded, error)
        # Both comparisons are false for NaN. The rows are only looked at one by one when one of them is wrong.
        if not (scores.min() >= 0.0 and scores.max() <= 1.0):
            part, bad = _parted(part)
            what = f"version {scorer.version} answered something that is no probability"
            self._failed(turn, bad.places, InvalidOutput(what))
        self._answer(turn, part, self._champion)

    def _failed(self, turn: _Turn, places: list[int], failure: Exception) -> None:
        scorer, tally = self._live.champion.scorer, self._live.champion.tally
        tally.errors += len(places)
        _log.error("%s version %d failed", self._model, scorer.version, exc_info=failure)
        self._refuse(turn, places, Refusal(500, "version_failed", f"version {scorer.version} failed: {failure}"))

    def _by_challenger(self, turn: _Turn, places: list[int], challenger: Challenger) -> None:
        encoded = turn.encoded.take(places)
        try:
            scores = challenger.batcher.at_once(encoded)
        except Exception as failure:  # noqa: BLE001  no fault of a challenger may reach a user, whatever it is
            self._charged(turn, places, challenger, failure)
            return
        if scores is not None:
            self._judged(turn, places, challenger, encoded, scores)
            return
        future = challenger.batcher.submit(encoded)
        if future.done() and not isinstance(future.exception(), Dropped):
            for _ in places:  # a trial each: they are requests of several users
                challenger.guard.refused()
        future.add_done_callback(
            lambda done: self._safely(turn, places, self._answered, turn, places, challenger, encoded, done)
        )

    def _answered(
        self, turn: _Turn, places: list[int], challenger: Challenger, encoded: Encoded, done: asyncio.Future[Timed]
    ) -> None:
        """The challenger has answered, or not; where it has not, the champion does."""
        try:
            scores, _ = done.result()
        except Dropped as full:
            # The queue was full: nobody's fault, but the user is not kept waiting for it. Nor is it a success: rows
            # that the challenger was never asked are not counted.
            self._by_champion(turn, places, f"challenger not asked: {full}")
        except Exception as failure:  # noqa: BLE001  no fault of a challenger may reach a user, whatever it is
            self._charged(turn, places, challenger, failure)
        else:
            self._judged(turn, places, challenger, encoded, scores)

    def _charged(self, turn: _Turn, places: list[int], challenger: Challenger, failure: Exception) -> None:
        challenger.tally.rows += len(places)
        challenger.tally.errors += len(places)
        self._by_champion(turn, places, f"challenger: {type(failure).__name__}: {failure}")

    def _judged(self, turn: _Turn, places: list[int], challenger: Challenger, encoded: Encoded, scores: Scores) -> None:
        """Answer with what is a probability; where it is none the champion answers, and the challenger is charged."""
        challenger.tally.rows += len(places)
        part, bad = _parted(Part(places, "challenger", challenger.scorer, scores, encoded))
        challenger.guard.outputs(len(bad.places), len(places))
        if bad.places:
            challenger.tally.errors += len(bad.places)
            self._by_champion(turn, bad.places, "challenger: InvalidOutput: 1 of 1 scores are no probability")
        if self._challenger is not None:
            self._answer(turn, part, self._challenger)

    def _answer(self, turn: _Turn, part: Part, template: Template) -> None:
        asked, replies, now = turn.asked, turn.replies, time.perf_counter()
        took_ms = [1e3 * (now - turn.starts[place]) for place in part.places]
        if part.places:  # before the answer: where nothing may be lost it is on the disk by then
            self._keep(self._live, part, asked, took_ms)
        for place, score in zip(part.places, part.scores.tolist(), strict=True):
            reply, replies[place] = replies[place], None
            if reply is not None:
                reply(200, template.fill(asked.keys[place], asked.ids[place], score))
        self._count(self._model, 200, took_ms)

    def _refuse(self, turn: _Turn, places: list[int], refusal: Refusal) -> None:
        body, now = msgspec.json.encode(refusal.body()), time.perf_counter()
        for place in places:
            reply, turn.replies[place] = turn.replies[place], None
            if reply is not None:
                self._count(self._model, refusal.status, [1e3 * (now - turn.starts[place])])
                if refusal.status >= 500:
                    self._usage.failed([turn.event_us[place]])
                reply(refusal.status, body)


def _raise(error: Exception) -> None:
    raise error


def _parted(part: Part) -> tuple[Part, Part]:
    """The rows whose scores are probabilities, and the rest."""
    scores = part.scores
    if scores.min() >= 0.0 and scores.max() <= 1.0:  # false for NaN
        return part, replace(part, places=[])
    fine = valid(scores)
    return _some(part, np.flatnonzero(fine).tolist()), _some(part, np.flatnonzero(~fine).tolist())


def _some(part: Part, at: list[int]) -> Part:
    places = [part.places[i] for i in at]
    return Part(places, part.variant, part.scorer, part.scores[at], part.encoded.take(at), part.error)
