"""``modelyard train``, ``modelyard evaluate``, and the offline stages that ``dvc.yaml`` calls."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.output import moment as given
from modelyard.cli.session import platform, settings
from modelyard.config.project import load_project
from modelyard.core.digest import short

offline = typer.Typer(help="The stages of dvc.yaml: no service is needed.", no_args_is_help=True)
Folder = Annotated[Path | None, typer.Option(help="Folder that the stages share; by default <home>/offline/<model>.")]
AsOf = Annotated[str | None, typer.Option(help="Moment in ISO 8601.")]


def train(
    model: Model,
    snapshot: Annotated[str, typer.Option(help="Digest of a validated snapshot.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Train on a validated snapshot, and register the result as a candidate.

    Example: modelyard train flight_delay --snapshot sha256:0123... --reason "first model"
    """
    with reported():
        from modelyard.flows import train as flows
        from modelyard.release.simple import simple_models

        here = platform()
        moment = given(as_of) if as_of else here.as_of(model, datetime.now(UTC))
        release = flows.train(here, model, snapshot, as_of=moment, reason=reason, author=getpass.getuser())
        if as_json:
            emit_json(release)
            return
        console.print(f"{model} {release.semver}, version {release.version}: {release.digest}", highlight=False)
        for simple in simple_models(release.metrics):
            console.print(f"On the evaluation days, {simple.words}.", highlight=False)
        console.print(f"Run: {here.tracking.run_url(release.mlflow_run_id)}", highlight=False)
        console.print(f"Next: `modelyard evaluate {model} {release.version}`.", highlight=False)


def evaluate(
    model: Model,
    version: Annotated[int, typer.Argument(help="The release's version.")],
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Measure a release, and the champion beside it, on the days held out from its training.

    Example: modelyard evaluate flight_delay 1
    """
    with reported():
        from modelyard.flows import evaluate as flows

        here = platform()
        release = here.ledger.releases.by_version(model, version)
        digest = flows.evaluate(here, release.digest, as_of=given(as_of) if as_of else release.as_of)
        evidence = flows.read_evidence(here, model, digest)
        if as_json:
            emit_json({"evidence": digest, "measurements": evidence.measurements})
            return
        rows = [
            (m.name, m.slice or "all", _number(m.value), f"{_number(m.low)} .. {_number(m.high)}", m.n, m.why)
            for m in evidence.measurements
            if m.subject == release.digest
        ]
        emit_table(f"Evidence {short(digest)}", ("what", "of", "value", "95%", "rows", "why not"), rows, empty="")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _place(model: str, folder: Path | None) -> Path:
    return folder or settings().home / "offline" / model


@offline.command("snapshot")
def offline_snapshot(model: Model, as_of: AsOf = None, folder: Folder = None) -> None:
    """Fix the rows of the model's window.

    Example: modelyard offline snapshot flight_delay
    """
    with reported():
        from modelyard.flows import offline as flows

        moment = given(as_of) if as_of else None
        made = flows.snapshot(load_project(model, settings()), _place(model, folder) / "snapshot", moment)
        console.print(f"{made.content}: {made.rows} rows of {made.window}", highlight=False)


@offline.command("features")
def offline_features(model: Model, folder: Folder = None) -> None:
    """Join the features to the snapshot's rows.

    Example: modelyard offline features flight_delay
    """
    with reported():
        from modelyard.flows import offline as flows

        place = _place(model, folder)
        digest = flows.features(load_project(model, settings()), place / "snapshot", place / "frame")
        console.print(digest, highlight=False)


@offline.command("train")
def offline_train(model: Model, folder: Folder = None) -> None:
    """Train on the frame and write the bundle.

    Example: modelyard offline train flight_delay
    """
    with reported():
        from modelyard.flows import offline as flows

        place, project = _place(model, folder), load_project(model, settings())
        release = flows.train(project, place / "snapshot", place / "frame", place / "bundle", place / "train.json")
        for name, digest in release.files.items():
            console.print(f"{digest}  {name}", highlight=False)


@offline.command("evaluate")
def offline_evaluate(model: Model, folder: Folder = None) -> None:
    """Measure the bundle on its evaluation days.

    Example: modelyard offline evaluate flight_delay
    """
    with reported():
        from modelyard.flows import offline as flows

        place, project = _place(model, folder), load_project(model, settings())
        evidence = flows.evaluate(
            project, place / "frame", place / "bundle", place / "evaluation", place / "evaluate.json"
        )
        found = [(m.name, _number(m.value), m.n) for m in evidence.measurements if not m.slice]
        emit_table(f"Evidence {short(evidence.digest)}", ("what", "value", "rows"), found, empty="")
