"""What the installed package's ``airflow.plugins`` entry point names."""

from __future__ import annotations

from pathlib import Path

from airflow import settings
from airflow.plugins_manager import AirflowPlugin


def _plugin() -> type[AirflowPlugin] | None:
    """The plugin; None where Airflow's plugins folder has it: Airflow reports a second one as an error."""
    if settings.PLUGINS_FOLDER and (Path(settings.PLUGINS_FOLDER) / "modelyard_plugin.py").is_file():
        return None
    from modelyard_plugin import ModelyardPlugin

    return ModelyardPlugin


plugin = _plugin()
