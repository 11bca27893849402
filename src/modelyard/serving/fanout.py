"""Trips of guardrails, from replica to replica: each is a file beside the prediction log, which all replicas read.

What one replica has found out harms no user of another, with the controller alive or dead; and a trip outlives the
replica that recorded it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from modelyard.ports.fleet import Route, Trip
from modelyard.serving.live import Live
from modelyard.serving.served import Served

_log = logging.getLogger(__name__)
LOOK_S = 0.1
"""How often a replica looks for trips of the others while it asks a challenger; the longest that they may be ahead.

At 500 requests/s a canary at 5% that fails every other request would meet too many with half a second
(``make bench-serving ARGS=half_failing``).
"""


class Fanout:
    """Follows what other replicas (and this one, before it was killed) have recorded of the rollout under way."""

    def __init__(self, root: Path, kept: Callable[[Served], None]) -> None:
        self._root, self._kept = root, kept

    async def follow(self, served: Callable[[], Mapping[str, Served]]) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for model in served().values():
                try:
                    await self.look(model)
                except Exception:  # noqa: BLE001  a folder that cannot be read must not end the watch
                    _log.exception("%s: the other replicas' trips cannot be read", model.name)

    async def look(self, served: Served) -> None:
        """Take the challenger off where a trip of its rollout is on record."""
        live = served.live
        if live is None or live.challenger is None or live.tripped or not live.route.rollout:
            return
        trip = await asyncio.to_thread(recorded, self._root, live.route)
        current = served.live
        if trip is None or current is None or current.tripped or not _same(current, live):
            return
        served.swap(heeding(current, trip))
        _log.warning("%s: guardrail %s tripped; all traffic is on the champion", served.name, trip.guardrail)
        self._kept(served)


def recorded(root: Path, route: Route) -> Trip | None:
    """The first trip on record of the route's challenger, in the route's rollout. Raises ``OSError``."""
    if route.challenger is None or not route.rollout:
        return None
    found = read_trips(root, route.model, route.rollout)
    return next((trip for trip in found if trip.challenger == route.challenger.release), None)


def heeding(live: Live, trip: Trip) -> Live:
    """The same, all traffic on the champion, saying who has found out what."""
    return live.without_challenger(f"{trip.guardrail} (on {trip.replica})", dict(trip.detail))


def _same(one: Live, other: Live) -> bool:
    arms = [None if x.challenger is None else x.challenger.scorer.digest for x in (one, other)]
    return one.route.rollout == other.route.rollout and arms[0] == arms[1]


def read_trips(root: Path, model: str, rollout: str) -> list[Trip]:
    """All trips that are on record of a rollout, oldest first; a file that is none is logged and left out."""
    trips = []
    for path in sorted((root / model / "events").glob("*.json")):
        if not path.stem.endswith(f"~{rollout}"):  # no pattern: a rollout's id may hold what means something there
            continue
        try:
            trips.append(Trip.from_json(path.read_bytes()))
        except ValueError as error:
            _log.error("%s is no trip: %s", path, error)
    return sorted(trips, key=lambda trip: trip.at)
