"""``modelyard demo`` and ``replay``: the whole loop on real data, and past traffic on its own."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.output import console, reported
from modelyard.cli.session import settings


def demo(
    interactive: Annotated[bool, typer.Option(help="Answer the approvals yourself, in Airflow's UI.")] = False,
    until: Annotated[str | None, typer.Option(help="The last stage to go through; by default all.")] = None,
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
