"""Replays what happened: requests in the order in which they were made, outcomes when they became known.

One step is one hour of event time. First the feature rows that had become known are pushed, then the hour's requests
are made, then its outcomes sent and landed, and last the step is written in the ledger's clock:
nothing that the platform does as of a moment can see what came after it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from modelyard.config.policies import load_policy
from modelyard.config.project import Project
from modelyard.core.window import Window
from modelyard.demo.gateway_client import GatewayClient, Tally
from modelyard.demo.past import Past
from modelyard.drift.policy import DriftPolicy
from modelyard.ports.platform import Platform

HOUR = timedelta(hours=1)
LONGEST = timedelta(days=366)
AHEAD = timedelta(hours=12)
"""How far the replay may be ahead of the newest drift check. Production checks each hour; without this bound a check
every few seconds would see only every third or fourth replayed day."""


@dataclass
class Pace:
    """How fast the replay may go; another thread may change it. ``hours_per_second`` None is as fast as it goes."""

    hours_per_second: float | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    async def rest(self, began: float) -> None:
        """Wait until the step that began then has taken its time, or the replay is stopped, or may go faster."""
        while not self.stopped.is_set() and self.hours_per_second is not None:
            left = began + 1.0 / self.hours_per_second - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.1))


@dataclass(frozen=True)
class Steps:
    """What the platform is told in each step, beside the traffic."""

    push_features: Iterator[datetime]
    land: Callable[[Window], object]
    tick: Callable[[datetime, datetime], None]
    too_far: Callable[[datetime], bool] = lambda _: False


class Replay:
    """Replays a model's past against the gateway."""

    def __init__(self, past: Past, client: GatewayClient, steps: Steps, pace: Pace, window: Window) -> None:
        self.window, self.reached = window, window.start
        self._past, self._client, self._steps, self._pace = past, client, steps, pace

    def run(self) -> datetime:
        """Replay the window, unless stopped; returns the event time that was reached."""
        return asyncio.run(self._run())

    async def _run(self) -> datetime:
        try:
            for hour in self.window.split(HOUR):
                if self._pace.stopped.is_set():
                    break
                began = time.monotonic()
                await self._step(hour)
                self.reached = hour.end
                await self._pace.rest(began)
                await asyncio.to_thread(self._wait_for_monitor, hour.end)
        finally:
            self._client.close()
        return self.reached

    def _wait_for_monitor(self, reached: datetime) -> None:
        while self._steps.too_far(reached) and not self._pace.stopped.wait(0.2):
            pass

    async def _step(self, hour: Window) -> None:
        # In threads, so that the connections stay attended meanwhile.
        await asyncio.to_thread(next, self._steps.push_features, None)
        await self._client.post_all("predict", self._past.requests(hour), 200)
        await self._client.post_all("feedback", self._past.feedback(hour), 202)
        await asyncio.to_thread(self._steps.land, hour)
        await asyncio.to_thread(self._steps.tick, datetime.now(UTC), hour.end)


def too_far(platform: Platform, model: str, start: datetime) -> Callable[[datetime], bool]:
    """Whether the replay, having come to a moment, must wait for the monitor.

    Before there are as many whole windows of outcomes as are needed, and while a rollout is open, no check could ask
    for anything, so nothing waits.
    """
    windows = load_policy(DriftPolicy, "drift", platform.settings, model).windows
    needed = windows.length_hours + (windows.needed - 1) * windows.step_hours
    judged_from = start + timedelta(hours=needed + windows.settle_hours)

    def far(reached: datetime) -> bool:
        if reached < judged_from or platform.ledger.rollouts.current(model) is not None:
            return False
        return not platform.ledger.journal.checks(model, since=reached - AHEAD, until=reached, brief=True)

    return far


def open_replay(
    platform: Platform,
    project: Project,
    since: datetime,
    start: datetime,
    tally: Tally,
    pace: Pace,
    *,
    until: datetime | None = None,
) -> Replay:
    """A replay of a model's past from ``start`` to ``until``, or to its end.

    Rows asked about before ``since`` never became requests.
    """
    from modelyard.data.source import read_source
    from modelyard.flows.features import stream
    from modelyard.flows.ingest import ingest

    source = project.spec.source
    rows = read_source(project, Window(start=since, end=start + LONGEST))
    last = max(start, rows[source.event_time].max().to_pydatetime())
    window = Window(start=start, end=min(until or last + HOUR, last + HOUR))
    steps = Steps(
        # One hour per step, each computed when it is asked for: from what has landed by then.
        push_features=stream(platform, project.name, window.start - HOUR, window.end),
        land=lambda hour: ingest(platform, project.name, hour.start, hour.end),
        tick=lambda wall, event: platform.ledger.journal.tick(project.name, wall, event),
        too_far=too_far(platform, project.name, since) if until is None else lambda _: False,
    )
    client = GatewayClient(platform.settings.gateway_urls, tally)
    return Replay(Past(project, rows), client, steps, pace, window)
