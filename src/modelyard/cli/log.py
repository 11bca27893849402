"""``modelyard log``: the prediction log's files."""

from __future__ import annotations

from typing import Any

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, reported
from modelyard.cli.session import platform

app = typer.Typer(help="The prediction log's files.", no_args_is_help=True)


@app.callback()
def log() -> None:
    """The prediction log's files."""


@app.command()
def compact(model: Model, as_json: AsJson = False) -> None:
    """Merge a model's many small files into one for each day, replica and rollout. Gateways may go on meanwhile.

    Example: modelyard log compact flight_delay
    """
    from modelyard.adapters.log_compaction import compact as merge
    from modelyard.config.project import load_project

    with reported():
        settings = platform().settings
        load_project(model, settings)
        before, after = merge(settings.prediction_log, model)
        counts: dict[str, Any] = {"model": model, "before": before, "after": after}
        if as_json:
            emit_json(counts)
        else:
            console.print(f"{model}: {before} files before, {after} now.")
