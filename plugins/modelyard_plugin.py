"""Registers Modelyard's pages with Airflow. The classes that DAG files use are imported by them directly."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from modelyard.ports.platform import Platform


@lru_cache(maxsize=1)
def _platform() -> Platform:
    """The platform that the pages read from; connected when the first page is asked for."""
    from modelyard_airflow.catalogue import settings

    from modelyard.wiring import connect

    return connect(settings())


def _pages() -> list[dict[str, Any]]:
    """The pages, where there is a web server; other processes that load plugins do not pay for one."""
    if "fastapi" not in sys.modules:
        return []
    from modelyard_airflow import REPORTS, RUNS, catalogue, reports, run_pages

    documents = reports.application(catalogue.settings().home / "docs")
    return [
        {"app": documents, "url_prefix": REPORTS, "name": "Modelyard reports"},
        {"app": run_pages.application(_platform), "url_prefix": RUNS, "name": "Modelyard runs"},
    ]


_VIEWS = [
    {
        "name": "Modelyard reports",
        "href": "modelyard/reports/",
        "destination": "nav",
        "category": "browse",
        "url_route": "modelyard-reports",
    }
]
# Not an external view: Airflow shows those in a frame that forbids new tabs, so no link of it would open.
_RUN_TABS = [
    {
        "name": "Modelyard",
        "bundle_url": "modelyard/runs/tab.js",
        "destination": "dag_run",
        "url_route": "modelyard-run",
    }
]


class ModelyardPlugin(AirflowPlugin):
    """The page of reports with its entry in the navigation, and the tab on each run's page."""

    name = "modelyard"
    fastapi_apps = _pages()
    external_views = _VIEWS
    react_apps = _RUN_TABS
