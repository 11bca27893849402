"""Writes the files through which an existing Airflow finds the DAGs of the installed package."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Literal

from modelyard.core.errors import ConfigError, Conflict, NotFound

MARK = "# Written by `modelyard dags install`"
"""How a file begins that may be written again."""

# Airflow reads only files that have the words airflow and dag in them.
_TEXT = Template(
    f"""{MARK}: run it again after an upgrade instead of changing this file.
\"\"\"The $module DAG of every model, for Airflow; the code is in the installed package modelyard_airflow.\"\"\"

from modelyard_airflow.dags.$module import *  # noqa: F403
"""
)

State = Literal["written", "unchanged"]


def packaged_dags() -> list[str]:
    """The modules of DAGs in the installed package.

    Raises:
        NotFound: this is a checkout, whose DAG files are at its top, or Modelyard's Airflow side is not installed.
    """
    spec = find_spec("modelyard_airflow")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if found := sorted(path.stem for path in (Path(place) / "dags").glob("*.py")):
            return found
    hint = "Install Modelyard's wheel here, or, in a checkout, let Airflow's dags_folder and plugins_folder be its own."
    raise NotFound("package of DAGs", "modelyard_airflow.dags", hint=hint)


def install_loaders(folder: Path) -> dict[Path, State]:
    """Write a loader per DAG module into Airflow's DAG folder, after a look at all of them; says what became of each.

    Raises:
        ConfigError: the folder does not exist or is read-only.
        Conflict: a file of that name exists and was not written by this.
        NotFound: there are no packaged DAGs.
    """
    texts = {folder / f"modelyard_{name}.py": _TEXT.substitute(module=name) for name in packaged_dags()}
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        hint = "`airflow config get-value core dags_folder` says which one Airflow reads."
        raise ConfigError("FOLDER", str(folder), "an existing folder that you may write to", hint=hint)
    there = {path: path.read_text(encoding="utf-8", errors="replace") for path in texts if path.exists()}
    foreign = [str(path) for path, text in there.items() if not text.startswith(MARK)]
    if foreign:
        raise Conflict(
            f"{', '.join(foreign)}: not written by `modelyard dags install`; nothing was written. Move it away."
        )
    return {path: _put(path, text) if there.get(path) != text else "unchanged" for path, text in texts.items()}


def _put(path: Path, text: str) -> State:
    """Replace the file in one step: the DAG processor may read it at any moment."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o644)  # Airflow's processes may run as another user
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return "written"
