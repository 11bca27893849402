"""Registers Modelyard's pages with Airflow. The classes that DAG files use are imported by them directly."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin


def _pages() -> list[dict[str, Any]]:
    """The reports, where there is a web server; other processes that load plugins do not pay for one."""
    if "fastapi" not in sys.modules:
        return []
    from modelyard_airflow import REPORTS, catalogue, reports

    app = reports.application(catalogue.settings().home / "docs")
    return [{"app": app, "url_prefix": REPORTS, "name": "Modelyard reports"}]


class ModelyardPlugin(AirflowPlugin):
    """The page of reports, and its entry in the navigation."""

    name = "modelyard"
    fastapi_apps: ClassVar[list[Any]] = _pages()
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Modelyard reports",
            "href": "modelyard/reports/",
            "destination": "nav",
            "category": "browse",
            "url_route": "modelyard-reports",
        }
    ]
