"""``modelyard demo`` and ``replay``: the whole loop on real data, and past traffic on its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, reported
from modelyard.cli.session import platform, settings
from modelyard.core.errors import NotFound
from modelyard.core.window import parse_moment
from modelyard.ports.platform import Platform


def demo(
    interactive: Annotated[bool, typer.Option(help="Answer the approvals yourself, in Airflow's UI.")] = False,
    until: Annotated[
        str | None, typer.Option(help="The last stage to go through, as docs/demo.md names it; by default all.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model whose past is replayed.")] = "flight_delay",
) -> None:
    """Start everything and take a real model through the whole loop; continues what an earlier run began.

    Example: modelyard demo --interactive
    """
    from modelyard.demo.run import STAGES, Options, run

    with reported():
        # The demo shortens durations and nothing else; see `profiles: demo` in policies/.
        here = settings().model_copy(update={"profile": "demo"})
        run(here, Options(interactive=interactive, until=until or STAGES[-1], model=model), console)


def replay(
    model: Model,
    hours: Annotated[int, typer.Option(min=1, help="How many hours of event time.")] = 24,
    start: Annotated[
        str | None, typer.Option(help="From here (ISO 8601); by default where the last replay ended.")
    ] = None,
    pace: Annotated[
        float | None, typer.Option(min=0.001, help="Hours per second; by default as fast as it goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a model's past as live traffic: requests in order of time, outcomes when they became known.

    Example: modelyard replay flight_delay --hours 48
    """
    from modelyard.config.project import load_project
    from modelyard.demo.gateway_client import Tally
    from modelyard.demo.replay import Pace, open_replay

    with reported():
        here = platform()
        begin = _begin(here, model, start)
        tally = Tally()
        until = begin + timedelta(hours=hours)
        project = load_project(model, here.settings)
        moments = open_replay(here, project, begin, begin, tally, Pace(hours_per_second=pace), until=until)
        reached = moments.run()
        found = {"reached": reached.isoformat(), "sent": dict(tally.sent), "failed": tally.failed}
        if as_json:
            emit_json(found)
            return
        sent = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.sent.items()))
        console.print(f"Replayed until {reached:%Y-%m-%d %H:%M} UTC: {sent}; {tally.failed} failed.", highlight=False)
        console.print(f"Next: `modelyard drift check {model}`.")


def _begin(here: Platform, model: str, start: str | None) -> datetime:
    if start is not None:
        return parse_moment(start)
    ticks = here.ledger.journal.ticks(model)
    if not ticks:
        raise NotFound("earlier replay of", model, hint="Say where to begin with --start.")
    return ticks[-1][1]
