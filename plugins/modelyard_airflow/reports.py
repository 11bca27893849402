"""The pages that the platform keeps under ``<home>/docs``, served inside Airflow to people who are logged in.

Files only, read only.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

from modelyard_airflow import REPORTS, access

_KINDS = {
    ".css": "text/css",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
# A report is a file that some library wrote: it may run its own scripts, but not with the reader's session.
_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def find(root: Path, name: str) -> Path:
    """The file or folder that the name means below ``root``.

    Raises:
        HTTPException: 404 when it does not exist, lies outside ``root`` (also through a link), or is hidden.
    """
    base = root.resolve()
    try:
        target = (base / name.lstrip("/")).resolve()
        inside = target == base or base in target.parents
        hidden = any(part.startswith(".") for part in target.relative_to(base).parts) if inside else True
        if inside and not hidden and target.exists():
            return target
    except (OSError, ValueError):
        pass
    raise HTTPException(404, "no such report")


def application(root: Path, guard: Any = None) -> FastAPI:
    """The reports' pages; ``guard`` is the dependency that checks who asks (by default Airflow's)."""
    app = FastAPI(title="Modelyard reports", openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/{name:path}", dependencies=[guard if guard is not None else access.signed_in()])
    def read(name: str) -> Response:
        target = find(root, name)
        if target.is_dir():
            index = target / "index.html"
            return _file(index) if index.is_file() else _listing(root, target)
        return _file(target)

    return app


def _file(path: Path) -> Response:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise HTTPException(404, "no such report")
    return FileResponse(path, media_type=kind, headers=_HEADERS)


def _listing(root: Path, folder: Path) -> Response:
    shown = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    base = root.resolve()
    rows = "".join(f"<li>{_link(path, base)}</li>" for path in shown)
    place = html.escape(str(folder.relative_to(base)).removeprefix("."))
    page = f"<!doctype html><title>Reports</title><h1>Reports {place}</h1><ul>{rows or '<li>none yet</li>'}</ul>"
    return HTMLResponse(page, headers=_HEADERS)


def _link(path: Path, base: Path) -> str:
    slash = "/" if path.is_dir() else ""
    return f'<a href="{REPORTS}/{quote(str(path.relative_to(base)))}{slash}">{html.escape(path.name)}</a>'
