"""``modelyard init``: a new model's folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import console, reported
from modelyard.config.project import load_project
from modelyard.config.settings import Settings


def init(
    name: Annotated[str, typer.Argument(help="Name of the new model, for instance churn.")],
    folder: Annotated[Path | None, typer.Option(help="Where to put it; by default the first projects folder.")] = None,
) -> None:
    """Write a commented, working skeleton of a model: one folder, with example rows to start from.

    Example: modelyard init churn
    """
    from modelyard.scaffold.write import write_skeleton

    with reported():
        settings = Settings.from_env()
        place = folder or settings.projects[0]
        written = write_skeleton(name, place, end=datetime.now(UTC))
        inside = settings.model_copy(update={"projects": (place,)})
        load_project(name, inside)
        console.print(f"[bold]{place / name}[/] is a working model on example rows:")
        for path in written:
            console.print(f"  {path.name}", highlight=False)
        console.print(
            "Next: put your rows in data.csv and name their columns in model.yaml. Its DAGs appear in Airflow by "
            f"themselves within seconds: trigger {name}__retrain there, or try it without any service: "
            f"`modelyard offline snapshot {name} --as-of MOMENT`, then offline features, train, evaluate.",
            highlight=False,
        )
