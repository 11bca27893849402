"""The page behind the tab "Modelyard" of a run: what the run was about, for people who may see the run.

``GET <RUNS>/<dag>/<run>`` is the page, ``GET <RUNS>/tab.js`` the tab that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response

from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.ports.platform import Platform
from modelyard_airflow import access, run_facts
from modelyard_airflow.page import HEADERS, Section, render
from modelyard_airflow.run_parts import Asked

TAB = Path(__file__).parent / "run_tab.js"
_LOOPS: dict[str, Callable[[Asked], list[Section]]] = {
    "features": run_facts.features,
    "monitor": run_facts.monitor,
    "retrain": run_facts.retrain,
    "rollout": run_facts.rollout,
}
_DAG = re.compile(rf"([a-z][a-z0-9_]{{0,62}})__({'|'.join(_LOOPS)})")
_LONGEST_RUN = 250
"""What Airflow keeps of a run's name."""


def application(
    platform: Callable[[], Platform],
    *,
    runs: Callable[[str, str], access.Run | None] = access.find_run,
    readers: Any = None,
    anybody: Any = None,
) -> FastAPI:
    """The runs' pages. ``readers`` and ``anybody`` are the dependencies that check who asks (by default Airflow's):
    may they see this DAG's runs, and are they signed in."""
    app = FastAPI(title="Modelyard runs", openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/tab.js", dependencies=[anybody if anybody is not None else access.signed_in()])
    def tab() -> Response:
        return FileResponse(TAB, media_type="text/javascript", headers={"X-Content-Type-Options": "nosniff"})

    @app.get("/{dag_id}/{run_id}", dependencies=[readers if readers is not None else access.may_read_runs()])
    def read(dag_id: str, run_id: str) -> Response:
        match = _DAG.fullmatch(dag_id)
        known = match is not None and len(run_id) <= _LONGEST_RUN and run_id.isprintable()
        run = runs(dag_id, run_id) if known else None
        if match is None or run is None:
            return _message(404, "No such run", "Airflow has no run of a Modelyard loop with this name.")
        model, loop = match.groups()
        try:
            sections = _LOOPS[loop](Asked(platform(), model, run, runs))
        except ModelyardError as error:
            code = 503 if isinstance(error, Unavailable) else 500
            return _message(code, "The ledger could not be read", f"{type(error).__name__}: {error}")
        return _answer(200, f"{model}: {loop}", f"Run {run_id}, {run.state}", sections)

    return app


def _answer(status: int, title: str, subtitle: str, sections: list[Section]) -> Response:
    return HTMLResponse(render(title, subtitle, sections), status, headers=HEADERS)


def _message(status: int, title: str, text: str) -> Response:
    return _answer(status, title, text, [])
