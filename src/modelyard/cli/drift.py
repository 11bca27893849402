"""``modelyard drift``: what the governor sees and why it decides as it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.output import moment as given
from modelyard.cli.session import platform, platform_of
from modelyard.core.errors import ConfigError, EvidenceMissing
from modelyard.flows import monitor, parity
from modelyard.flows import profile as profiles
from modelyard.ports.profiler import Rows
from modelyard.wiring import profiler_of

app = typer.Typer(help="Drift checks and the retrain governor.", no_args_is_help=True)
AsOf = Annotated[str | None, typer.Option(help="Look from this moment (ISO 8601); by default from now.")]


@app.command()
def check(model: Model, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Run a drift check and record it. It starts no retraining: that is the monitoring DAG's to do.

    Example: modelyard drift check flight_delay
    """
    with reported():
        here = platform()
        moment = given(as_of) if as_of else here.as_of(model, datetime.now(UTC))
        decision = monitor.check(here, model, moment, run_key="cli", retraining_open=True)
        if as_json:
            emit_json({"digest": decision.digest, **decision.to_dict()})
            return
        console.print(monitor.explain(decision), markup=False, highlight=False)
        console.print(f"Next: `modelyard drift history {model}`.")


@app.command()
def history(
    model: Model,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 30,
    plot: Annotated[Path | None, typer.Option(help="Draw them here (.svg, .png), each feature a line.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show past drift checks, one row each.

    Example: modelyard drift history flight_delay --limit 500 --plot history.svg
    """
    from modelyard.flows.history_plot import plot_history

    with reported():
        checks = platform_of(model).ledger.journal.checks(model, brief=not as_json)[-limit:]
        if plot is not None:
            plot_history(model, checks, plot)
        if as_json:
            emit_json(checks)
            return
        rows = [
            (c["as_of"][:16], c["action"], _number(c.get("calibration_gap")), c.get("labels", ""), c["requests"],
             _number(c.get("logloss")), _number(c.get("auc")), _number(c.get("psi_max")),
             _number((c.get("drops") or {}).get("accuracy_drop")), _failed(c), _beside(c),
             "; ".join(c["reasons"]))
            for c in checks
        ]  # fmt: skip
        measured = ("calibration gap", "labels", "requests", "logloss", "AUC", "PSI max", "accuracy drop", "failed")
        columns = ("as of", "action", *measured, "beside", "reasons")
        emit_table(f"Drift checks of {model}", columns, rows, empty="The monitoring DAG makes one each hour.")


@app.command()
def explain(model: Model) -> None:
    """Explain the newest decision of the governor, check by check.

    Example: modelyard drift explain flight_delay
    """
    with reported():
        found = platform_of(model).ledger.journal.decisions(model, "governor")
        if not found:
            raise EvidenceMissing(f"{model} has not been checked yet; the monitoring DAG checks it each hour")
        console.print(f"as of {found[-1].as_of:%Y-%m-%d %H:%M} UTC", highlight=False)
        console.print(monitor.explain(found[-1]), markup=False, highlight=False)


@app.command()
def compare(
    model: Model,
    files: Annotated[list[Path] | None, typer.Option("--file", help="A Parquet file; may be given again.")] = None,
    table: Annotated[str, typer.Option(help="A table of the database, as NAME or SCHEMA.NAME.")] = "",
    database: Annotated[str, typer.Option(help="Where the table lies: postgresql://... or a DuckDB file.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare rows, counted where they lie, with what the champion was trained on.

    Example: modelyard drift compare flight_delay --file today.parquet
    """
    with reported():
        if bool(files) == bool(table) or (table and not database):
            raise ConfigError("--file, --table", table, "files, or a table together with --database")
        rows = Rows(files=tuple(map(str, files or ())), table=table)
        found = profiles.compare(platform(), model, rows, profiler_of(database) if database else None)
        if as_json:
            emit_json(found.to_dict())
            return
        odd = {"vanished": found.counted.vanished, "changed type": found.counted.retyped, "new": found.counted.added}
        for what, names in odd.items():
            if names:
                console.print(f"{what}: {', '.join(names)}", markup=False, highlight=False)
        values = {(m.slice.removeprefix("feature="), m.name): m.value for m in found.scores}
        measures = ("psi", "jensen_shannon", "cramers_v", "ks", "missing_rise", "invalid_rate", "unseen_rate")
        lines = [(f, *(_number(values.get((f, name))) for name in measures)) for f in found.counted.profile.names]
        title = f"{found.counted.profile.n} rows against {model} v{found.version}"
        emit_table(title, ("feature", *measures), lines, empty="The reference has no features.")


@app.command("parity")
def compare_features(
    model: Annotated[str, typer.Option(help="Name of the model: its folder under projects/.")],
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Compare features as they were served with the same features joined offline, point in time. Records nothing.

    Example: modelyard drift parity --model flight_delay
    """
    with reported():
        here = platform()
        moment = given(as_of) if as_of else here.as_of(model, datetime.now(UTC))
        verdicts, found = parity.measure(here, model, moment)
        if as_json:
            emit_json({"verdicts": verdicts, "features": found})
            return
        rows = [(f.name, f.n, f.differing, f.not_served, f.both_missing, f.example) for f in found]
        columns = ("feature", "compared", "differing", "not served", "missing on both sides", "for instance")
        emit_table(f"Features of {model} as served and offline", columns, rows, empty=verdicts[0].reason)
        for verdict in verdicts:
            console.print(f"{verdict.check}: {verdict.outcome.value}: {verdict.reason}", markup=False, highlight=False)


def _failed(check: Mapping[str, Any]) -> str:
    """Which checks failed."""
    return ", ".join(name for name, outcome in (check.get("verdicts") or {}).items() if outcome == "failed")


def _beside(check: Mapping[str, Any]) -> str:
    """What the policies that are tried beside would have done."""
    return ", ".join(f"{name}: {said['action']}" for name, said in (check.get("dry_run") or {}).items())


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "none"
