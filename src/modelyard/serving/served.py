"""One model on one replica: answers requests with what is live, charges the challenger, feeds the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from functools import partial
from random import randrange
from typing import Any

import numpy as np

from modelyard.serving.answers import Asked, InvalidOutput, Part, Scores, answer
from modelyard.serving.batcher import Dropped
from modelyard.serving.encoding import Encoded, Row
from modelyard.serving.errors import Refusal, invalid
from modelyard.serving.guard import Guardrails
from modelyard.serving.lane import Count, Lane, Reply
from modelyard.serving.live import Challenger, Live
from modelyard.serving.log import Answered, PredictionLog
from modelyard.serving.requests import PredictRequest, microseconds, moment
from modelyard.serving.scorer import valid
from modelyard.serving.usage import Usage

_log = logging.getLogger(__name__)

PAIR_S, PAIR_ROWS = 0.05, 1024
"""Rows that are compared wait so long, or for so many: waking a thread costs more than some rows' scores."""


class Served:
    """Holds what is live and swaps it by one assignment."""

    def __init__(
        self, name: str, log: PredictionLog, on_trip: Callable[[Served], None], count: Count, usage: Usage
    ) -> None:
        self.name, self._log, self._on_trip, self._count, self.usage = name, log, on_trip, count, usage
        self.live: Live | None = None
        self._lane: Lane | None = None
        self._prefix, self._ids = secrets.token_hex(6), itertools.count(1)
        self._unpaired: set[Answered] = set()
        self._to_pair: list[tuple[Live, Part, Sequence[Row], Answered]] = []
        self._to_pair_rows = 0
        self._pairing: asyncio.TimerHandle | None = None

    def swap(self, live: Live | None) -> None:
        """Serve this from the next request on; requests under way end with what they began with."""
        before = self.live
        self._set(live)
        old, new = (None if x is None else x.challenger for x in (before, live))
        if new is not None:
            new.guard.on_trip = self._tripped
        if old is not None and (new is None or new.batcher is not old.batcher):
            old.close()

    def take(self, body: bytes, reply: Reply, request_id: str = "") -> bool:
        """Answer a plain request the quick way (``Lane.take``); False where it has to be asked of ``predict``."""
        return self._lane is not None and self._lane.take(body, reply, request_id)

    def close(self) -> None:
        """Log the rows that still wait for the other version's score, without it: they were answered all the same."""
        for answered in list(self._unpaired):
            self._record(answered)

    async def predict(self, request: PredictRequest, request_id: str = "") -> dict[str, Any]:
        """Answer a request, under the client's own id where it gave one.

        Raises:
            Refusal: the rows are not accepted, or nothing is live.
        """
        start, served_us = time.perf_counter(), time.time_ns() // 1000
        live = self._require()
        champion = live.champion
        event_us = microseconds(request.event_time, served_us)
        self.usage.seen(event_us)
        rows = await live.completion.complete(request.rows, moment(event_us))
        encoded = champion.scorer.encoder.encode(rows)
        keys = row_keys(rows, champion.scorer.signature.key)
        mine, theirs = live.split(keys)
        parts, counts = [], not request.probe
        if mine:
            parts.append(await self._by_champion(live, mine, encoded.take(mine) if theirs else encoded, counts))
        if theirs and live.challenger is not None:
            parts.append(await self._by_challenger(live, live.challenger, rows, theirs, encoded, counts))
        request_id = request_id or self._new_id()
        ids = [request_id] if len(keys) == 1 else [f"{request_id}.{place}" for place in range(len(keys))]
        asked = Asked(rows, keys, ids, [event_us] * len(keys), [served_us] * len(keys))
        latency = (time.perf_counter() - start) * 1e3
        for part in () if request.probe else parts:
            self._keep(live, part, asked, latency)
        if not request.probe:
            self.usage.answered([event_us], len(keys))
        return answer(self.name, request_id, parts, asked)

    async def probe(self, given: Sequence[Row]) -> dict[str, Any]:
        """What the challenger answers, whatever its share, to the platform: neither logged nor compared.

        Its guardrails are charged as by any call.

        Raises:
            Refusal: there is no challenger, or it was taken off (409); its signature does not accept the rows (422),
                which charges it with nothing; it does not answer (503).
        """
        start, live = time.time_ns() // 1000, self._require()
        challenger = live.challenger
        if challenger is None or live.tripped:
            raise Refusal(409, "no_challenger", f"no challenger of {self.name} is asked here{_why(live)}")
        rows = await live.completion.complete(given, moment(start))
        # By its own inputs alone: its example need not be what the champion takes.
        theirs = challenger.scorer.encoder.encode(rows)
        keys, places = row_keys(rows, challenger.scorer.signature.key), list(range(len(rows)))
        try:
            scores = await _ask(challenger, theirs)
        except Exception as failure:
            message = f"version {challenger.scorer.version} does not answer: {type(failure).__name__}: {failure}"
            raise Refusal(503, "version_failed", message) from failure
        part = Part(places, "challenger", challenger.scorer, scores, theirs)
        request_id, times = self._new_id(), [start] * len(rows)
        ids = [f"{request_id}.{place}" for place in places]
        return answer(self.name, request_id, [part], Asked(rows, keys, ids, times, times))

    def _set(self, live: Live | None) -> None:
        """What is live, and the quick way into it where there is one."""
        typed = None if live is None else live.champion.scorer.typed
        # A challenger with inputs of its own has to be shown the rows as they came.
        same = live is not None and (live.challenger is None or live.challenger.same_inputs)
        self.live, self._lane = live, None
        if live and typed and same:
            self._lane = Lane(live, typed, self._new_id, self._keep, self._count, self.usage)

    def _new_id(self) -> str:
        return f"{self._prefix}{next(self._ids):x}"

    def _require(self) -> Live:
        if self.live is None:
            raise Refusal(503, "not_ready", f"no version of {self.name} is live on this replica")
        return self.live

    async def _by_champion(
        self, live: Live, places: list[int], encoded: Encoded, counts: bool, error: str = ""
    ) -> Part:
        tally, scorer, counted = live.champion.tally, live.champion.scorer, len(places) * counts
        if not error:
            tally.rows += counted
            tally.repeats += max(counted - 1, 0)
        try:
            scores = await live.champion.batcher.submit(encoded)
            # Plain comparisons: for a few rows, three array operations would take ten times as long.
            if not all(0.0 <= score <= 1.0 for score in scores.tolist()):
                raise InvalidOutput(f"version {scorer.version} answered something that is no probability")
        except Exception as failure:
            tally.errors += counted
            tally.failed_repeats += max(counted - 1, 0)
            _log.exception("%s version %d failed", self.name, scorer.version)
            raise Refusal(500, "version_failed", f"version {scorer.version} failed: {failure}") from failure
        return Part(places, "champion", scorer, scores, encoded, error)

    async def _by_challenger(
        self, live: Live, challenger: Challenger, rows: Sequence[Row], places: list[int], encoded: Encoded, counts: bool
    ) -> Part:
        """The challenger's answer; where it fails, the champion's, and the challenger is charged."""
        mine, counted = encoded.take(places), len(places) * counts
        try:
            theirs = _encode(challenger, [rows[i] for i in places], mine)
            scores = await _ask(challenger, theirs)
            challenger.tally.rows += counted
            challenger.tally.repeats += max(counted - 1, 0)
            return Part(places, "challenger", challenger.scorer, scores, theirs)
        except Dropped as full:
            # The queue was full: nobody's fault, but the user is not kept waiting for it. Nor is it a success: a row
            # that the challenger was never asked is not counted.
            return await self._by_champion(live, places, mine, counts, f"challenger not asked: {full}")
        except Exception as failure:  # noqa: BLE001  no fault of a challenger may reach a user, whatever it is
            challenger.tally.rows += counted
            challenger.tally.errors += counted
            challenger.tally.repeats += max(counted - 1, 0)
            challenger.tally.failed_repeats += max(counted - 1, 0)
            return await self._by_champion(
                live, places, mine, counts, f"challenger: {type(failure).__name__}: {failure}"
            )

    def _keep(self, live: Live, part: Part, asked: Asked, latency: float | list[float]) -> None:
        """Log what was answered, once the other version has scored it too, where versions are compared."""
        encoder, places = part.scorer.encoder, part.places
        pick = partial(_chosen, places)
        event_us = pick(asked.event_us)
        answered = Answered(
            model=self.name,
            rollout=live.route.rollout,
            release=part.scorer.digest,
            version=part.scorer.version,
            variant=part.variant,
            generation=live.generation,
            request_ids=pick(asked.ids),
            keys=pick(asked.keys),
            event_us=event_us,
            served_us=pick(asked.served_us),
            latency_ms=latency,
            scores=part.scores,
            encoded=part.encoded,
            names=(encoder.numeric_names, encoder.categorical_names),
            error=part.error,
            words=encoder.words,
        )
        self._log.write_ahead(answered)
        self._use(live, event_us, latency)
        current = self.live
        if current is not None and current.challenger is live.challenger and not part.error and current.drawn():
            self._unpaired.add(answered)
            self._to_pair.append((live, part, asked.rows, answered))
            self._to_pair_rows += len(places)
            if self._to_pair_rows >= PAIR_ROWS:
                self._pair_all()
            elif self._pairing is None:
                self._pairing = asyncio.get_running_loop().call_later(PAIR_S, self._pair_all)
        else:
            self._log.add(answered)

    def _use(self, live: Live, event_us: list[int], latency: float | list[float]) -> None:
        if live.champion.spending.taken:
            self.usage.spent(live.champion.scorer.version, live.champion.spending, event_us[0])
        if isinstance(latency, list):  # the quick way: a request each
            self.usage.answered(event_us)

    def _pair_all(self) -> None:
        if self._pairing is not None:
            self._pairing.cancel()
            self._pairing = None
        waiting, self._to_pair, self._to_pair_rows = self._to_pair, [], 0
        for one in waiting:
            self._pair(*one)

    def _pair(self, live: Live, part: Part, rows: Sequence[Row], answered: Answered) -> None:
        """Have the version that did not answer score the same rows; after the answer, and never at its expense."""
        challenger = live.challenger
        assert challenger is not None  # noqa: S101  only called where there is one
        other: asyncio.Future[Any]
        try:
            # Where both take the same inputs, the encoded rows serve (and ``rows`` may be empty).
            chosen = [] if challenger.same_inputs else [rows[i] for i in part.places]
            if part.variant == "champion":
                other = challenger.comparer.submit(_encode(challenger, chosen, part.encoded))
            elif challenger.same_inputs:
                other = live.champion.batcher.submit(part.encoded)
            else:
                other = live.champion.batcher.submit(live.champion.scorer.encoder.encode(chosen))
        except Exception as error:  # noqa: BLE001  the row was answered, and is logged whatever becomes of its pair
            if part.variant == "champion":
                _mirrored(challenger, answered, error)
            if not isinstance(error, Refusal):
                _log.exception("%s: a row could not be put to the other version", self.name)
            self._record(answered)
            return
        other.add_done_callback(lambda done: self._paired(challenger, answered, done))

    def _paired(self, challenger: Challenger, answered: Answered, done: asyncio.Future[Any]) -> None:
        if answered not in self._unpaired:  # closed meanwhile: the row is in the log already
            return
        try:
            if answered.variant == "champion":
                _mirrored(challenger, answered, CancelledError() if done.cancelled() else done.exception())
            if done.cancelled() or done.exception() is not None:
                challenger.tally.dropped_pairs += len(answered.keys)
            elif answered.variant == "challenger":
                answered.other = done.result()
                challenger.guard.pairs(*_trials(answered, answered.scores, answered.other))
            else:
                scores, _ = done.result()
                fine = valid(scores)
                wrong = _requests(answered, int((~fine).sum()))
                challenger.mirror.errors += wrong
                challenger.guard.outputs(wrong, _requests(answered, len(scores)))
                answered.other = np.where(fine, scores, np.nan)
                challenger.guard.pairs(*_trials(answered, answered.other[fine], answered.scores[fine]))
        finally:
            self._record(answered)

    def _record(self, answered: Answered) -> None:
        """Log a row that waited for its pair, once."""
        if answered in self._unpaired:
            self._unpaired.remove(answered)
            self._log.add(answered)

    def _tripped(self, guard: Guardrails) -> None:
        live = self.live
        if live is not None and live.challenger is not None and live.challenger.guard is guard and not live.tripped:
            self._set(live.without_challenger(guard.tripped, guard.detail()))
            _log.warning("%s: guardrail %s tripped; all traffic is on the champion", self.name, guard.tripped)
            self._on_trip(self)


def _chosen(places: list[int], each: list[Any]) -> list[Any]:
    """Those at places, which ascend."""
    if len(places) == len(each):
        return each
    first, last = places[0], places[-1] + 1
    return each[first:last] if last - first == len(places) else [each[place] for place in places]


def _requests(answered: Answered, rows: int) -> int:
    """How many requests so many rows are: one each when they came the quick way, else one in all."""
    return rows if isinstance(answered.latency_ms, list) else min(rows, 1)


def _trials(answered: Answered, one: Scores, other: Scores) -> tuple[Scores, Scores]:
    """Both versions' scores of one row for each request, drawn where it has more: such rows are alike (an airport's
    storm), and as trials of their own would make a test of any level trip."""
    if isinstance(answered.latency_ms, list) or len(one) < 2:
        return one, other
    drawn = randrange(len(one))  # noqa: S311
    return one[drawn : drawn + 1], other[drawn : drawn + 1]


def _mirrored(challenger: Challenger, answered: Answered, failure: BaseException | None) -> None:
    """Count the requests that the challenger was shown, and those that it did not answer at all."""
    requests, mirror = _requests(answered, len(answered.keys)), challenger.mirror
    if isinstance(failure, Dropped | CancelledError):
        mirror.dropped += requests
        return
    mirror.requests += requests
    mirror.errors += requests if failure is not None else 0


def _why(live: Live) -> str:
    return f": {live.tripped} tripped" if live.tripped else ""


def _encode(challenger: Challenger, rows: Sequence[Row], encoded: Encoded) -> Encoded:
    """The rows as the challenger sees them; inputs that do not fit a row that the champion takes are its fault."""
    try:
        return challenger.encode(rows, encoded)
    except Refusal:
        challenger.guard.refused()
        raise


async def _ask(challenger: Challenger, rows: Encoded) -> Scores:
    scores = challenger.batcher.at_once(rows)
    if scores is None:
        future = challenger.batcher.submit(rows)
        if future.done() and not isinstance(future.exception(), Dropped):
            challenger.guard.refused()
        scores, _ = await future
    wrong = int((~valid(scores)).sum())
    challenger.guard.outputs(int(wrong > 0), 1)
    if wrong:
        raise InvalidOutput(f"{wrong} of {len(scores)} scores are no probability")
    return scores


def row_keys(rows: Sequence[Row], field: str) -> list[str]:
    """The routing key of each row, as a text. Raises ``Refusal``."""
    keys = [row.get(field) for row in rows]
    for place, key in enumerate(keys):
        if type(key) not in (str, int) or key == "":
            raise invalid(field, key, "the row's key, a text or a whole number", row=place)
    return [str(key) for key in keys]
