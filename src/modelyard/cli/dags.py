"""``modelyard dags``: the DAGs of an Airflow that was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, reported

app = typer.Typer(help="The DAGs, in an Airflow of your own.", no_args_is_help=True)


@app.command()
def install(
    folder: Annotated[Path, typer.Argument(help="Airflow's DAG folder.")],
    as_json: AsJson = False,
) -> None:
    """Write the small files through which an existing Airflow finds Modelyard's DAGs; safe to repeat.

    Example: modelyard dags install "$(airflow config get-value core dags_folder)"
    """
    from modelyard.scaffold.loaders import install_loaders

    with reported():
        found = install_loaders(folder.absolute())
        if as_json:
            emit_json({str(path): state for path, state in found.items()})
            return
        emit_table("Loaders", ("file", "state"), list(found.items()), empty="")
        console.print("Next: give Airflow's processes the MODELYARD_* settings (docs/install.md).", highlight=False)
