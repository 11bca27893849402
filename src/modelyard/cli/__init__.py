"""The command line: thin over ``flows``; every command has an example, and ``--json`` where it reads."""

from __future__ import annotations

import typer

from modelyard.cli import (
    audit,
    dags,
    data,
    demonstration,
    drift,
    gates,
    keys,
    lineage,
    log,
    models,
    overview,
    predict,
    records,
    releases,
    replay,
    rollouts,
    services,
    simulate,
    training,
)

app = typer.Typer(
    name="modelyard",
    help="MLOps orchestration whose decisions can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
for command in (services.up, services.down, services.clean, services.ps, services.doctor):
    app.command()(command)
app.add_typer(services.db, name="db")
app.add_typer(audit.app, name="audit")
app.add_typer(dags.app, name="dags")
app.add_typer(data.app, name="data")
app.add_typer(drift.app, name="drift")
drift.app.command()(replay.replay)
app.add_typer(keys.app, name="keys")
app.add_typer(rollouts.app, name="rollout")
app.add_typer(log.app, name="log")
app.add_typer(releases.app, name="release")
rollouts.app.command()(simulate.simulate)
app.command()(overview.status)
app.command()(demonstration.demo)
app.command()(demonstration.replay)
app.command()(models.init)
app.command()(predict.predict)
app.command()(training.train)
app.command()(training.evaluate)
app.command()(gates.gates)
app.add_typer(training.offline, name="offline")
app.command()(lineage.lineage)
app.command()(records.releases)
app.command()(records.decisions)
app.command()(records.incidents)
app.command()(records.resolve)
app.command()(records.reconcile)


def main() -> None:
    """The entry point of ``modelyard``."""
    app()
