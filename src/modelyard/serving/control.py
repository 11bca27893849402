"""The replica's control side: takes routes, keeps them, comes back to them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import Field

from modelyard.core.errors import ModelyardError
from modelyard.core.value import Value
from modelyard.ports.fleet import Arm, ReplicaState, Route, Trip
from modelyard.ports.signing import Trust
from modelyard.rollout.guardrails import GUARDS
from modelyard.serving.errors import Refusal
from modelyard.serving.fanout import Fanout, heeding, recorded
from modelyard.serving.files import write_atomically
from modelyard.serving.lane import Count
from modelyard.serving.live import Live, Mirror, Tally, assemble
from modelyard.serving.loading import Versions
from modelyard.serving.log import PredictionLog
from modelyard.serving.online import Completion, OnlineStore
from modelyard.serving.requests import Bounds
from modelyard.serving.scorer import Scorer
from modelyard.serving.served import Served
from modelyard.serving.usage import UsageLog
from modelyard.signing.keys import NOBODY

_log = logging.getLogger(__name__)
EVIDENCE_S = 0.5
"""The least time between two records of the guardrails' counts: each is a file that is brought to the disk."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Kept(Value):
    """What a replica writes down of a model: enough to come back to it."""

    generation: int
    route: Route
    tripped: str = ""
    trip_detail: dict[str, Any] = Field(default_factory=dict)
    guard_counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    cpu_by: str = "call"
    """What a trial of ``cpu_time`` was when the counts were written; those of calls are no trials any more."""
    tallies: dict[str, dict[str, int]] = Field(default_factory=dict)


class StateFiles:
    """The kept state of each model. Several threads write: a later state is never overwritten by an earlier one."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock, self._numbers = folder, Lock(), itertools.count(1)
        self._written: dict[str, int] = {}

    def writer(self, model: str, kept: Kept) -> Callable[[], None]:
        """Takes the state as it is now; the returned call writes it, unless a later one was written meanwhile."""
        number, data = next(self._numbers), kept.to_json().encode()

        def write() -> None:
            with self._lock:
                if number > self._written.get(model, 0):
                    write_atomically(self._folder / f"{model}.json", data)
                    self._written[model] = number

        return write

    def paths(self) -> list[Path]:
        """The files there are."""
        return sorted(self._folder.glob("*.json"))


class Control:
    """All models of one replica."""

    def __init__(
        self,
        replica: str,
        folder: Path,
        log: PredictionLog,
        store: OnlineStore,
        numbers: Callable[[str], dict[str, Bounds]] = lambda _: {},
        trust: Callable[[], Trust] = lambda: NOBODY,
    ) -> None:
        self.replica, self._files, self._log, self.store = replica, StateFiles(folder), log, store
        self._versions = Versions(trust=trust)
        self._usage = UsageLog(log.root, replica, log.later)
        self._lock = asyncio.Lock()
        self._numbers = numbers
        self.declared: dict[str, dict[str, Bounds]] = {}
        """By model the numbers that clients may report, as ``model.yaml`` had them when the model was last routed."""
        self.served: dict[str, Served] = {}
        self.by_target: dict[bytes, Served] = {}
        """Models by the request target under which they are asked."""
        self.on_answered: Count = lambda *_: None
        self._off: dict[str, Kept] = {}
        self._watching: asyncio.Task[None] | None = None
        self.broken: dict[str, str] = {}
        self._saved, self._closed = -inf, False
        self._saving: asyncio.TimerHandle | None = None
        log.on_flush = self.save_evidence

    async def apply(self, route: Route, generation: int) -> ReplicaState:
        """Follow this route: load and warm up first, then one assignment, then write it down, then acknowledge.

        The same generation again changes nothing.

        Raises:
            Refusal: the generation is older than the one in force, or a bundle cannot be served.
        """
        async with self._lock:
            if not self._in_force(route, generation):
                await self._swap(route, generation)
            live = self._live(route.model)
            kept = self._off[route.model] if live is None else _kept(live)
            # Also when it was in force already: the write may be what failed the last time.
            await asyncio.to_thread(self._files.writer(route.model, kept))
            return self.state(route.model)

    async def _swap(self, route: Route, generation: int) -> None:
        if route.champion is None:
            self._switch_off(Kept(generation=generation, route=route))
        else:
            champion = await self._load(route.model, route.champion)
            challenger = None if route.challenger is None else await self._load(route.model, route.challenger)
            completion = await self._completion(champion, challenger)
            await self._declare(route.model)
            trip = await self._recorded(route)
            # The live value is read only now: a guardrail may have tripped while the bundles were loading.
            live = assemble(route, generation, champion, challenger, completion, self._live(route.model))
            if trip is not None and not live.tripped:
                live = heeding(live, trip)
            self._one(route.model).swap(live)
            _weigh(live)
            self._off.pop(route.model, None)
        self.broken.pop(route.model, None)
        await self._keep_warm(route)

    async def restore(self) -> None:
        """Come back to the last acknowledged routes; a challenger that cannot be loaded is left out.

        A model that cannot be restored is ``broken`` (``/readyz`` says so) until it is routed again; never raises.
        """
        for path in self._files.paths():
            try:
                await self._restore(path.stem, Kept.from_json(path.read_bytes()))
            except Exception as error:  # noqa: BLE001  whatever is wrong with one model, the others are served
                self.broken[path.stem] = str(error) or type(error).__name__
                _log.error("%s cannot be restored: %s", path.stem, error, exc_info=not isinstance(error, Refusal))

    def state(self, model: str) -> ReplicaState:
        """What this replica does for a model. Raises ``Refusal`` for an unknown one."""
        live = self._live(model)
        if live is None and (off := self._off.get(model)) is not None:
            return ReplicaState(
                replica=self.replica, generation=off.generation, champion=None, challenger=None, weight=0
            )
        if live is None:
            raise Refusal(404, "unknown_model", f"nothing is routed to {model!r} on {self.replica}")
        champion, challenger = live.champion, live.challenger
        counts = {"champion": _tally(live.champion.tally)}
        if challenger is not None:
            counts["challenger"] = _tally(challenger.tally)
            counts["mirror"] = _tally(challenger.mirror)
            if live.shadow:
                counts |= challenger.beside.counts(comparable=challenger.same_inputs)
            for name, numbers in challenger.guard.counts.items():
                counts[f"guard.{name}"] = {key: float(value) for key, value in numbers.items()}
        return ReplicaState(
            replica=self.replica,
            generation=live.generation,
            champion=champion.scorer.digest,
            challenger=None if challenger is None else challenger.scorer.digest,
            weight=live.weight,
            tripped=live.tripped,
            trip_detail=live.trip_detail,
            counts=counts,
            warm=self._versions.pinned(model),
        )

    def find(self, model: str) -> Served:
        """The model as it is served here. Raises ``Refusal`` for an unknown one."""
        served = self.served.get(model)
        if served is None:
            known = ", ".join(sorted(self.served)) or "none yet"
            raise Refusal(404, "unknown_model", f"no model {model!r} here (known: {known})", value=model)
        return served

    def watch(self) -> None:
        """From now on follow what other replicas record (``fanout``)."""
        self._watching = asyncio.create_task(Fanout(self._log.root, self._keep).follow(lambda: self.served))

    def close(self) -> None:
        """At an orderly stop, before the log is closed: hand it what still waits."""
        if self._watching is not None:
            self._watching.cancel()
        for served in self.served.values():
            served.close()
        self._closed = True
        if self._saving is not None:
            self._save_all()
        self._usage.write()

    def save_evidence(self) -> None:
        """Write the guardrails' counts down, so that a restart goes on from them: with each flush of the log, or where
        it is flushed more often, every half second."""
        now = time.monotonic()
        if self._closed or now - self._saved >= EVIDENCE_S:
            self._save_all()
        elif self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(self._saved + EVIDENCE_S - now, self._save_all)

    def _save_all(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
        self._saving, self._saved = None, time.monotonic()
        for name, served in self.served.items():
            if served.live is not None and served.live.challenger is not None:
                self._log.submit(self._files.writer(name, _kept(served.live)))

    def _in_force(self, route: Route, generation: int) -> bool:
        live, off = self._live(route.model), self._off.get(route.model)
        current = live or off
        if current is None or generation > current.generation:
            return False
        if generation < current.generation:
            message = f"generation {generation} is older than {current.generation}, which is in force"
            raise Refusal(409, "stale_generation", message, generation=current.generation)
        if route != current.route:
            raise Refusal(409, "stale_generation", f"generation {generation} is in force with another route")
        return True

    def _switch_off(self, kept: Kept) -> None:
        """Answer this model's requests with 503: its first version was taken back and there is none before it."""
        self._off[kept.route.model] = kept
        self._one(kept.route.model).swap(None)

    def _tripped(self, served: Served) -> None:
        live = served.live
        if live is None:
            return
        if live.challenger is not None:
            trip = Trip(
                replica=self.replica,
                model=served.name,
                rollout=live.route.rollout,
                challenger=live.challenger.scorer.digest,
                generation=live.generation,
                guardrail=live.tripped,
                at=datetime.now(UTC),
                detail=live.trip_detail,
            )
            self._log.trip(trip)
        self._keep(served)

    def _keep(self, served: Served) -> None:
        if served.live is not None:
            self._log.submit(self._files.writer(served.name, _kept(served.live)))

    async def _restore(self, model: str, kept: Kept) -> None:
        route = kept.route
        if not _NAME.fullmatch(model) or model != route.model:
            raise Refusal(422, "invalid_route", f"the kept route of {model} is {route.model}'s")
        if route.champion is None:
            self._switch_off(kept)
            return
        champion = await self._load(model, route.champion)
        challenger, trip, problem = None, None, kept.tripped
        if route.challenger is not None:
            try:
                challenger = await self._load(model, route.challenger)
                trip = await self._recorded(route)
            except Refusal as error:
                problem = f"not restored: {error}"
        completion = await self._completion(champion, challenger)
        await self._declare(model)
        live = assemble(route, kept.generation, champion, challenger, completion, None)
        _recall(live, kept)
        tripped = problem or (live.challenger.guard.tripped if live.challenger is not None else "")
        if trip is not None and not tripped:
            live = heeding(live, trip)
        self._one(model).swap(live.without_challenger(tripped, kept.trip_detail) if tripped else live)
        _weigh(live)
        await self._keep_warm(route)

    async def _keep_warm(self, route: Route) -> None:
        """Keep what the route names for the way back. It answers nobody now: without it the route holds all the same,
        and ``ReplicaState.warm`` is empty."""
        try:
            await asyncio.to_thread(self._versions.pin, route.model, route.warm, route.warm_until)
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, who answers is not concerned
            _log.warning("%s: the version to go back to cannot be kept loaded: %s", route.model, error)

    async def _recorded(self, route: Route) -> Trip | None:
        """What others have found out while this replica was away: its users must not meet it again."""
        try:
            return await asyncio.to_thread(recorded, self._log.root, route)
        except OSError as error:
            message = f"{route.model}: whether its challenger has tripped elsewhere cannot be read: {error}"
            raise Refusal(503, "trips_unreadable", message) from error

    async def _load(self, model: str, arm: Arm) -> Scorer:
        try:
            return await asyncio.to_thread(self._versions.get, model, arm)
        except Exception as error:
            _log.exception("%s version %d cannot be loaded", model, arm.version)
            kind = error if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
            raise Refusal(422, "bundle_refused", f"{model} version {arm.version} cannot be served: {kind}") from error

    async def _completion(self, *scorers: Scorer | None) -> Completion:
        signatures = [scorer.signature for scorer in scorers if scorer is not None]
        try:
            return await asyncio.to_thread(self.store.completion, signatures)
        except Refusal:
            raise
        except Exception as error:
            model = signatures[0].model
            _log.exception("%s: its feature views cannot be read", model)
            raise Refusal(422, "features_refused", f"the feature views of {model} cannot be read: {error}") from error

    async def _declare(self, model: str) -> None:
        try:
            self.declared[model] = await asyncio.to_thread(self._numbers, model)
        except ModelyardError as error:
            raise Refusal(422, "project_refused", f"the numbers that {model} takes are not known: {error}") from error

    def _one(self, model: str) -> Served:
        if model not in self.served:
            count: Count = lambda *answered: self.on_answered(*answered)  # noqa: E731
            served = Served(model, self._log, self._tripped, count, self._usage.of(model))
            self.served = self.served | {model: served}
            self.by_target[f"/v1/models/{model}/predict".encode()] = served
        return self.served[model]

    def _live(self, model: str) -> Live | None:
        served = self.served.get(model)
        return None if served is None else served.live


def _kept(live: Live) -> Kept:
    tallies: dict[str, Tally | Mirror] = {"champion": live.champion.tally}
    if live.challenger is not None:
        tallies |= {"challenger": live.challenger.tally, "mirror": live.challenger.mirror}
    return Kept(
        generation=live.generation,
        route=live.route,
        tripped=live.tripped,
        trip_detail=live.trip_detail,
        guard_counts={} if live.challenger is None else live.challenger.guard.counts,
        cpu_by="span",
        tallies={name: {key: int(n) for key, n in _tally(tally).items()} for name, tally in tallies.items()},
    )


def _recall(live: Live, kept: Kept) -> None:
    """Put the evidence that was written down back into what has just been assembled."""
    arms: dict[str, Tally | Mirror] = {"champion": live.champion.tally}
    if live.challenger is not None:
        arms |= {"challenger": live.challenger.tally, "mirror": live.challenger.mirror}
        known = GUARDS if kept.cpu_by == "span" else tuple(name for name in GUARDS if name != "cpu_time")
        live.challenger.guard.recall({name: kept.guard_counts[name] for name in known if name in kept.guard_counts})
    for name, tally in arms.items():
        for key, number in kept.tallies.get(name, {}).items():
            setattr(tally, key, number)


def _weigh(live: Live) -> None:
    """Tell the guardrails what loading the challenger has cost; past the limit it is off before it was ever asked."""
    if live.challenger is not None:
        live.challenger.guard.loaded(live.challenger.scorer.grown_mb)


def _tally(tally: Tally | Mirror) -> dict[str, float]:
    return asdict(tally)
