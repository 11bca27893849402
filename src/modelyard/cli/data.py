"""``modelyard data``: land rows, fix them as a snapshot, validate it."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.output import moment as given
from modelyard.cli.session import platform
from modelyard.config.project import load_project
from modelyard.core.digest import short
from modelyard.core.errors import Conflict
from modelyard.core.window import Window
from modelyard.flows import contract as contracts
from modelyard.flows import ingest as ingesting
from modelyard.flows import retention
from modelyard.flows import snapshot as snapshots
from modelyard.flows import validate as validating

app = typer.Typer(help="Rows, snapshots and their validation.", no_args_is_help=True)
contract_app = typer.Typer(help="Data contracts (expectations.yaml).", no_args_is_help=True)
app.add_typer(contract_app, name="contract")
AsOf = Annotated[str | None, typer.Option(help="Only what was known by then (ISO 8601); by default now.")]


@app.command()
def fetch(model: Model) -> None:
    """Get the published data of a model whose source has a function for it (`fetch`, beside the loader). Idempotent.

    Example: modelyard data fetch test_priority
    """
    with reported():
        project = load_project(model, platform().settings)
        loader = project.spec.source.loader
        if not loader:
            raise Conflict(f"{model} reads the file {project.spec.source.file!r}: there is nothing to fetch")
        got = project.code(f"{loader.partition(':')[0]}:fetch")()
        console.print(f"{got}. Next: `modelyard data snapshot {model}`.", highlight=False, soft_wrap=True)


@app.command()
def ingest(
    model: Model,
    window: Annotated[str, typer.Option(help="Outcomes known in START/END (ISO 8601).")],
) -> None:
    """Land the rows whose outcome became known in a window. Idempotent.

    Example: modelyard data ingest flight_delay --window 2013-01-01/2013-04-09
    """
    with reported():
        known = Window.parse(window)
        rows = ingesting.ingest(platform(), model, known.start, known.end)
        console.print(f"{rows} rows are new. Next: `modelyard data snapshot {model}`.", highlight=False)


@app.command()
def snapshot(
    model: Model,
    as_of: AsOf = None,
    window: Annotated[str | None, typer.Option(help="START/END; by default the model's window_days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fix the landed rows of a window as one immutable version.

    Example: modelyard data snapshot flight_delay --as-of 2013-04-09
    """
    with reported():
        here = platform()
        moment = given(as_of) if as_of else here.as_of(model, datetime.now(UTC))
        taken = snapshots.take(here, model, moment, Window.parse(window) if window else None)
        if as_json:
            emit_json(taken)
            return
        console.print(f"{taken.content}: {taken.rows} rows of {taken.window}, DVC {taken.dvc_md5}", highlight=False)
        console.print(f"Next: `modelyard data validate {taken.content}`.", highlight=False)


@app.command()
def reset(model: Model) -> None:
    """Forget what has landed of a model whose file was replaced; the rows are set aside, snapshots stay.

    Example: modelyard data reset my_model
    """
    with reported():
        kept = ingesting.reset(platform(), model, getpass.getuser(), datetime.now(UTC))
        what = "Nothing has landed." if kept is None else f"What had landed is in {kept}."
        console.print(f"{what} Next: `modelyard data snapshot {model}` lands the source anew.", highlight=False)


@app.command()
def clean(
    model: Model,
    before: Annotated[str, typer.Option(help="Moment (ISO 8601): what is older goes.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove kept profiles of old hours, and training frames of old releases that nobody compares with any more.

    Example: modelyard data clean flight_delay --before 2013-06-01 --dry-run
    """
    with reported():
        load_project(model, platform().settings)
        gone = retention.clean(platform(), model, given(before), dry_run=dry_run)
        if as_json:
            emit_json(gone)
            return
        what = f"{gone.profiles} hours' profiles and {gone.frames} training frames, {gone.bytes / 2**20:.1f} MiB"
        console.print(f"{what} {'would be removed' if dry_run else 'removed'}.", highlight=False)


@app.command()
def validate(
    content: Annotated[str, typer.Argument(help="The snapshot's digest.")],
    as_json: AsJson = False,
) -> None:
    """Admit a snapshot or quarantine it, by the model's expectations.

    Example: modelyard data validate sha256:0123...
    """
    with reported():
        report = validating.validate(platform(), content)
        if as_json:
            emit_json(report)
            return
        rows = [(v.check, v.severity, v.outcome, v.reason) for v in report.verdicts]
        columns = ("expectation", "severity", "outcome", "why")
        emit_table(f"Snapshot {short(content)}", columns, rows, empty="The suite has no expectation.")
        console.print(f"Document: {report.document}", highlight=False)


@app.command("snapshots")
def list_snapshots(model: Model, as_json: AsJson = False) -> None:
    """Show the snapshots of a model and whether they were admitted.

    Example: modelyard data snapshots flight_delay
    """
    with reported():
        here = platform()
        found = [(s, here.ledger.snapshots.state(s.content)) for s in here.ledger.snapshots.of(model)]
        if as_json:
            emit_json([{"state": state, **taken.to_dict()} for taken, state in found])
            return
        rows = [(short(s.content), state, s.rows, str(s.window), s.as_of.date(), s.dvc_md5) for s, state in found]
        columns = ("digest", "state", "rows", "window", "as of", "DVC")
        emit_table(f"Snapshots of {model}", columns, rows, empty=f"`modelyard data snapshot {model}` takes one.")


@contract_app.command("infer")
def infer_contract(
    model: Annotated[str, typer.Option(help="Name of the model: its folder under projects/.")],
    snapshot: Annotated[str, typer.Option(help="The snapshot's digest; by default the newest one.")] = "",
    out: Annotated[Path | None, typer.Option(help="A new file; one that exists is never overwritten.")] = None,
) -> None:
    """Propose a data contract from a snapshot, each rule with what it was made from. A person reviews it.

    Example: modelyard data contract infer --model flight_delay --out proposed.yaml
    """
    with reported():
        text = contracts.infer(platform(), model, snapshot)
        if out is None:
            sys.stdout.write(text)
            return
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise Conflict(f"{out} exists and is not overwritten; name a new file, then compare the two") from None
        console.print(f"Review {out}, then move it to projects/{model}/expectations.yaml.", highlight=False)
