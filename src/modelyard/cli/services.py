"""``modelyard up``, ``down``, ``ps``, ``doctor``, ``db migrate``: the embedded platform's processes."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, reported
from modelyard.cli.session import settings
from modelyard.config.settings import Settings
from modelyard.runtime import commands, readiness
from modelyard.runtime.readiness import Finding

db = typer.Typer(help="The platform's own database.", no_args_is_help=True)


def up(
    only: Annotated[list[str] | None, typer.Option(help="Only this process and what it needs; repeatable.")] = None,
) -> None:
    """Start the embedded platform, or what of it does not run, and wait until all is well.

    Example: modelyard up
    """
    with reported():
        here = settings()
        running = commands.up(here, _tell, tuple(only) if only else None)
        console.print(f"Airflow   {running.airflow_url}", highlight=False)
        for user, password in running.airflow_passwords.items():
            console.print(f"          {user} / {password}", highlight=False, markup=False)
        console.print(f"MLflow    {running.mlflow_url}", highlight=False)
        for url in running.gateway_urls:
            console.print(f"Gateway   {url}  (docs: {url}/docs)", highlight=False)
        _warn(here)
        console.print("Next: `modelyard status`; `modelyard down` stops everything and keeps its state.")


def down() -> None:
    """Stop the embedded platform; nothing is lost, and `modelyard up` continues.

    Example: modelyard down
    """
    with reported():
        console.print(f"Stopped {commands.down(settings())} processes. State is kept; `modelyard up` continues.")


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the embedded platform and remove all its state (models, data, history).

    Example: modelyard clean --yes
    """
    with reported():
        here = settings()
        if not yes:
            typer.confirm(f"Remove everything under {here.home}?", abort=True)
        commands.clean(here)
        console.print(f"Removed {here.home}.", highlight=False)


def ps(as_json: AsJson = False) -> None:
    """Show the platform's processes and how each is. Exits with 1 when one is not well.

    Example: modelyard ps --json
    """
    with reported():
        reports = commands.status(settings())
        if as_json:
            emit_json([dataclasses.asdict(report) for report in reports])
        else:
            rows = [(r.name, r.state, r.pid or "", r.address, r.problem or "ok") for r in reports]
            emit_table("Processes", ("name", "state", "pid", "address", "health"), rows, empty="`modelyard up`.")
    if not reports or any(report.problem for report in reports):
        raise typer.Exit(1)


def doctor(as_json: AsJson = False) -> None:
    """Check the machine and the installation, and say how to mend what is not well; exits with 1 when something is not.

    Example: modelyard doctor
    """
    from modelyard.runtime.doctor import examine

    with reported():
        findings = examine(settings())
        if as_json:
            emit_json([dataclasses.asdict(finding) for finding in findings])
        else:
            rows = [(f.check, _state(f), f.detail, f.mend) for f in findings]
            emit_table("Doctor", ("check", "state", "found", "what to do"), rows, empty="Nothing was checked.")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@db.command()
def migrate() -> None:
    """Bring the platform's database to the newest schema; safe to repeat.

    Example: modelyard db migrate
    """
    from modelyard.adapters.db import engine

    with reported():
        engine.migrate(engine.connect(settings().require("database_url")))
        console.print("The platform's database has the newest schema.")


def _warn(here: Settings) -> None:
    """What a person has to know who has started the platform and wants a model of her own to go live."""
    for finding in [*readiness.projects(here), *readiness.approvers(here, started=True)]:
        if finding.mend:
            text = f"Attention: {finding.check}: {finding.detail}. {finding.mend}"
            console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _state(finding: Finding) -> str:
    if not finding.ok:
        return "PROBLEM"
    return "note" if finding.mend else "ok"


def _tell(name: str, what: str) -> None:
    console.print(f"  {name}: {what}", highlight=False, markup=False)
