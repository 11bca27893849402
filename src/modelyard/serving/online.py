"""Completes requests with features from the online store; missing and expired ones are counted, never made up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.features.online import Looked, OnlineReader, Pool, Scalar, View, table_name
from modelyard.release.signature import Input, Signature
from modelyard.serving.encoding import Row
from modelyard.serving.errors import Refusal, invalid

MOST_READS = 4
"""Statements under way at a time for one model; what comes meanwhile goes into the next one."""
_PATIENCE_S = 2.0
_IDLE_S = 60.0
"""A connection that was not used for so long may have been dropped by something in between that tells nobody."""
_SHUT_S = 0.5
"""After a read that was given up, requests are turned away at once for so long: who waits holds a place of others'."""

Ttl = Callable[[str, str], timedelta | None]


@dataclass(slots=True)
class Tally:
    """Values that the store did not have, that were too old or out of their bounds, and reads that failed."""

    missing: int = 0
    expired: int = 0
    out_of_bounds: int = 0
    failed: int = 0


class Completion:
    """Completes rows of one model with the view features that they lack."""

    def __init__(self, views: Sequence[View], inputs: Sequence[Input], pool: Pool | None, tally: Tally) -> None:
        self._views, self._tally = tuple(views), tally
        self._bounds = [
            (i.name, -inf if i.low is None else i.low, inf if i.high is None else i.high)
            for i in inputs
            if i.source != "request" and i.kind == "numeric"
        ]
        self._names = frozenset(name for view in views for name in view.features)
        self.fields = {view.name: view.field for view in views}
        """By view the field of the request that holds its entity."""
        self._reads = _Reads(OnlineReader(pool, views)) if views and pool is not None else None
        self._shut_until = 0.0

    async def complete(self, rows: Sequence[Row], moment: datetime) -> Sequence[Row]:
        """The rows with the current values as of a moment; what a row brings itself is left as it is.

        Raises:
            Refusal: a row lacks an entity field, or the store does not answer.
        """
        lacking = [place for place, row in enumerate(rows) if not self._names <= row.keys()]
        if not lacking or self._reads is None:
            return rows
        for place in lacking:
            self._check(rows[place], place)
        looked = await self._look([rows[i] for i in lacking], [moment] * len(lacking), requests=1)
        completed = list(rows)
        for place, one in zip(lacking, looked, strict=True):
            self._tally.missing += sum(name not in rows[place] for name in one.missing)
            self._tally.expired += sum(name not in rows[place] for name in one.expired)
            completed[place] = {**self._sound(one.values), **rows[place]}
        return completed

    async def features(self, rows: Sequence[Row], moments: Sequence[datetime]) -> list[dict[str, Scalar]]:
        """What the store has for requests of one row each that bring all of the entity fields and no view feature.

        Raises:
            Refusal: the store does not answer.
        """
        looked = await self._look(rows, moments, requests=len(rows))
        self._tally.missing += sum(len(one.missing) for one in looked)
        self._tally.expired += sum(len(one.expired) for one in looked)
        return [self._sound(one.values) for one in looked]

    async def _look(self, rows: Sequence[Row], moments: Sequence[datetime], requests: int) -> list[Looked]:
        assert self._reads is not None  # noqa: S101  only called where there is a store
        loop = asyncio.get_running_loop()
        try:
            if loop.time() < self._shut_until:
                raise TimeoutError("not a moment ago")
            return await asyncio.wait_for(self._reads.read(rows, moments), _PATIENCE_S)
        except Exception as error:
            if isinstance(error, TimeoutError) and loop.time() >= self._shut_until:
                self._shut_until = loop.time() + _SHUT_S
            # Whatever the driver raises: without features there is no answer, and the client may try again.
            self._tally.failed += requests
            message = f"the online store does not answer ({type(error).__name__})"
            raise Refusal(503, "features_unavailable", message, headers=((b"retry-after", b"1"),)) from error

    def _sound(self, values: dict[str, Scalar]) -> dict[str, Scalar]:
        """A stored value that the signature would refuse is missing: a user is not to blame for it."""
        for name, low, high in self._bounds:
            value = values.get(name)
            if value is not None and not (isinstance(value, float) and low <= value <= high):
                values[name] = None
                self._tally.out_of_bounds += 1
        return values

    def _check(self, row: Row, place: int) -> None:
        for view in self._views:
            if view.field not in row:
                accepted = f"the entity by which view {view.name} is read, or all of its features"
                raise invalid(view.field, None, accepted, row=place)


class _Reads:
    """Joins the reads of many requests into few statements."""

    def __init__(self, reader: OnlineReader) -> None:
        self._reader = reader
        self._waiting: list[tuple[Sequence[Row], Sequence[datetime], asyncio.Future[list[Looked]]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, rows: Sequence[Row], moments: Sequence[datetime]) -> list[Looked]:
        """The rows' features as of their moments, in this statement or the next."""
        future: asyncio.Future[list[Looked]] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, moments, future))
        if len(self._tasks) < MOST_READS:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self) -> None:
        while self._waiting:
            # Those that have been given up are not asked for, least of all of a store that is slow.
            batch, self._waiting = [one for one in self._waiting if not one[2].done()], []
            if not batch:
                return
            rows = [row for part, _, _ in batch for row in part]
            moments = [moment for _, each, _ in batch for moment in each]
            try:
                looked = await self._reader.read(rows, moments)
            except Exception as error:  # noqa: BLE001  it belongs to the requests of this batch
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            start = 0
            for part, _, future in batch:
                if not future.done():
                    future.set_result(looked[start : start + len(part)])
                start += len(part)


class LazyPool:
    """At most ``MOST_READS`` connections, each opened when it is first needed, and anew where it has broken.

    A driver's own pool asks a connection back by tasks of its own after each read, which takes longer than the read.
    """

    def __init__(self, address: Mapping[str, Any]) -> None:
        self._address, self._places = address, asyncio.Semaphore(MOST_READS)
        self._free: list[tuple[float, Any]] = []

    async def fetch(self, query: str, *args: Any) -> Sequence[Sequence[Any]]:
        """Rows of a statement."""
        async with self._places:
            connection = await self._connection()
            try:
                rows: Sequence[Sequence[Any]] = await connection.fetch(query, *args, timeout=_PATIENCE_S)
            except BaseException:
                connection.terminate()  # whatever state it is in; reads leave nothing behind in the store
                raise
            self._free.append((asyncio.get_running_loop().time(), connection))
            return rows

    async def _connection(self) -> Any:
        """The one that was used last, for it is the quickest; those that are closed or long idle are left out."""
        while self._free:
            used, connection = self._free.pop()
            if not connection.is_closed() and asyncio.get_running_loop().time() - used < _IDLE_S:
                return connection
            connection.terminate()
        import asyncpg

        connection = await asyncpg.connect(timeout=_PATIENCE_S, **self._address)
        try:
            await _plan_once(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def _plan_once(connection: Any) -> None:
    """The statement is always the same, and planning it for the values of each read costs as much as the read."""
    await connection.execute("SET plan_cache_mode = force_generic_plan", timeout=_PATIENCE_S)


class OnlineStore:
    """The store of this installation. Without one, versions that read feature views are refused: they would be fed
    nulls, and nobody the wiser, because a variable was not set."""

    def __init__(self, pool: Pool | None, ttl: Ttl) -> None:
        self._pool, self._ttl = pool, ttl
        self.tally = Tally()

    def completion(self, signatures: Sequence[Signature]) -> Completion:
        """What completes rows for all of these signatures of one model.

        Raises:
            Refusal: they read feature views and there is no store.
            ConfigError: how long a view's values hold is not known.
        """
        inputs = [item for signature in signatures for item in signature.inputs]
        if self._pool is None and (read := sorted({i.source for i in inputs} - {"request"})):
            message = f"{signatures[0].model} reads {', '.join(read)}, and no online store is set: FEAST_POSTGRES_HOST"
            raise Refusal(422, "no_online_store", message)
        return Completion(views_of(signatures, self._ttl), inputs, self._pool, self.tally)


def views_of(signatures: Sequence[Signature], ttl: Ttl) -> tuple[View, ...]:
    """The views that these signatures (of one model) read, with the features that any of them needs."""
    features: dict[str, dict[str, None]] = {}
    entities: dict[str, dict[str, str]] = {}
    for signature in signatures:
        entities |= signature.entities
        for item in signature.inputs:
            if item.source != "request":
                features.setdefault(item.source, {})[item.name] = None
    views = []
    for name, wanted in features.items():
        ((join_key, field),) = entities[name].items()
        model = signatures[0].model
        views.append(View(name, table_name(model, name), join_key, field, ttl(model, name), tuple(wanted)))
    return tuple(views)


def store_for(settings: Settings, env: Mapping[str, str] = os.environ) -> OnlineStore:
    """The online store that the environment names by the variables of ``feature_store.yaml`` (``FEAST_POSTGRES_*``)."""
    if not env.get("FEAST_POSTGRES_HOST"):
        return OnlineStore(None, lambda *_: None)
    names = {"host": "HOST", "port": "PORT", "database": "DATABASE", "user": "USER", "password": "PASSWORD"}
    address: dict[str, Any] = {key: env.get(f"FEAST_POSTGRES_{name}", "") for key, name in names.items()}
    address["port"] = int(address["port"] or 5432)
    address["ssl"] = env.get("FEAST_POSTGRES_SSLMODE") or "prefer"

    def ttl(model: str, view: str) -> timedelta | None:
        # A view that cannot be looked up is an error, not "for ever": values of any age would be served.
        views = load_project(model, settings).spec.feature_views
        if view not in views:
            raise ConfigError("feature_views", view, views, where=f"model.yaml of {model}")
        return timedelta(hours=hours) if (hours := views[view].ttl_hours) else None

    return OnlineStore(LazyPool(address), ttl)
