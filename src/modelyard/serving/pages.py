"""The gateway's own pages: OpenAPI and a page for people. Nothing is fetched from elsewhere."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.release.signature import Input
from modelyard.serving.control import Control
from modelyard.serving.requests import MOST_GENERATION, MOST_ROWS, Bounds
from modelyard.serving.scorer import Scorer

_ERROR = {"description": "Refused: `{error: {code, message, field, value, accepted, row}}`"}


def openapi(control: Control) -> dict[str, Any]:
    """The OpenAPI 3.1 description, with a schema of its own for each model that is live."""
    paths: dict[str, Any] = {
        "/healthz": {"get": _plain("The process is alive")},
        "/readyz": {"get": _plain("The last acknowledged routes are in force")},
        "/metrics": {"get": _plain("Prometheus metrics")},
    }
    for name, model in control.served.items():
        if model.live is not None:
            signature = model.live.champion.scorer.signature
            row = {
                "type": "object",
                "required": [
                    signature.key,
                    *(i.name for i in signature.inputs if i.source == "request" and not i.nullable),
                ],
                "properties": {signature.key: {"type": ["string", "integer"], "minLength": 1}}
                | {item.name: _schema(item) for item in signature.inputs},
            }
            paths[f"/v1/models/{name}/predict"] = {"post": _post("Predict one or many rows", _predict(row))}
            paths[f"/v1/models/{name}/feedback"] = {
                "post": _post("Report outcomes", _feedback(control.declared.get(name, {})))
            }
        paths |= _admin(name)
    info = {"title": "Modelyard gateway", "version": "1", "description": "Predictions, feedback, health, metrics."}
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"securitySchemes": schemes}}


def docs(control: Control, address: str, now: datetime) -> bytes:
    """A page for people; what they may paste names the address and the moment at which they came."""
    rows, asks = [], []
    for name, model in sorted(control.served.items()):
        if model.live is not None:
            state = control.state(name)
            challenger = "none" if model.live.challenger is None else f"version {model.live.challenger.scorer.version}"
            cells = (name, f"version {model.live.champion.scorer.version}", challenger, f"{state.weight / 100:g}%")
            numbers = control.declared.get(name, {})
            asks.append(_ask(name, model.live.champion.scorer, address, numbers, now))
            rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in (*cells, state.tripped or "no")))
    description = html.escape(json.dumps(openapi(control), indent=1))
    return (
        _PAGE.replace("{replica}", html.escape(control.replica))
        .replace("{rows}", "".join(rows) or "<tr><td colspan=5>no model is live yet</td></tr>")
        .replace("{asks}", "".join(asks))
        .replace("{openapi}", description)
        .encode()
    )


def _ask(name: str, scorer: Scorer, address: str, numbers: Mapping[str, Bounds], now: datetime) -> str:
    """Commands to paste: a row (of the version's own example, where it has one), and an outcome for its key."""
    made = {item.name: _value(item) for item in scorer.signature.inputs if item.source == "request"}
    row = {scorer.signature.key: "example-1"} | (scorer.example[0] if scorer.example else made)
    known = now.astimezone(UTC).replace(microsecond=0).isoformat()
    outcome: dict[str, Any] = {"key": row[scorer.signature.key], "label": 1, "known_at": known}
    if numbers:
        outcome["numbers"] = {name: high for name, (_, high) in numbers.items()}
    asked = (("predict", row), ("feedback", outcome))
    shown = (
        f"curl -s {address}/v1/models/{name}/{kind} -d {shlex.quote(json.dumps({'rows': [body]}))}"
        for kind, body in asked
    )
    return f"<h3>{html.escape(name)}</h3>" + "".join(f"<pre>{html.escape(line)}</pre>" for line in shown)


def _value(item: Input) -> float | str:
    """One that the input accepts."""
    if item.kind == "categorical":
        return next(iter(item.vocabulary), "other")
    return next((bound for bound in (item.low, item.high) if bound is not None), 1.0)


def _plain(text: str) -> dict[str, Any]:
    return {"summary": text, "responses": {"200": {"description": "Yes"}}}


def _post(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    refused = dict.fromkeys(("400", "403", "404", "408", "413", "422", "431", "503"), _ERROR)
    return {"summary": text, "requestBody": body, "responses": {"default": {"description": "Answer"}} | refused}


def _admin(name: str) -> dict[str, Any]:
    """The platform's own calls. They want the token, and an edge does not let them through."""
    arm = {"type": "object", "description": "{release, version, bundle}, or null"}
    route = {
        "type": "object",
        "required": ["model", "champion"],
        "properties": {
            "model": {"const": name},
            "champion": {"anyOf": [arm, {"type": "null"}]},
            "challenger": {"anyOf": [arm, {"type": "null"}]},
            "weight": {"type": "integer", "minimum": 0, "maximum": 10_000},
        },
    }
    generation = {"type": "integer", "minimum": 1, "maximum": MOST_GENERATION}
    wanted = {"type": "object", "required": ["route", "generation"], "additionalProperties": False}
    wanted |= {"properties": {"route": route, "generation": generation}}
    calls = {
        "route": {"put": _post("Follow this route", wanted)},
        "probe": {"post": _post("Ask the challenger", _predict({"type": "object"}))},
        "state": {"get": {"summary": "What this replica does", "responses": {"200": {"description": "It"}}}},
    }
    for call in calls.values():
        for operation in call.values():
            operation["security"] = [{"token": []}]
            operation["responses"] |= dict.fromkeys(("401", "403", "404", "409"), _ERROR)
    return {f"/admin/v1/models/{name}/{verb}": call for verb, call in calls.items()}


def _predict(row: dict[str, Any]) -> dict[str, Any]:
    rows = {"type": "array", "minItems": 1, "maxItems": 1000, "items": row}
    properties = {"rows": rows, "event_time": {"type": "string", "format": "date-time"}, "probe": {"type": "boolean"}}
    return {"type": "object", "required": ["rows"], "additionalProperties": False, "properties": properties}


def _schema(item: Input) -> dict[str, Any]:
    kinds = ["number"] if item.kind == "numeric" else ["string", "integer"]
    schema: dict[str, Any] = {"type": [*kinds, "null"] if item.nullable or item.source != "request" else kinds}
    if item.low is not None:
        schema["minimum"] = item.low
    if item.high is not None:
        schema["maximum"] = item.high
    if item.source != "request":
        schema["description"] = f"read from feature view {item.source} when absent"
    return schema


def _feedback(numbers: Mapping[str, Bounds]) -> dict[str, Any]:
    reported = {name: {"type": "number", "minimum": low, "maximum": high} for name, (low, high) in numbers.items()}
    outcome = {
        "type": "object",
        "required": ["known_at"],
        "additionalProperties": False,
        "properties": {
            "key": {"type": ["string", "integer"]},
            "request_id": {"type": "string"},
            "label": {"enum": [0, 1, None]},
            "numbers": {"type": "object", "additionalProperties": False, "properties": reported},
            "known_at": {"type": "string", "format": "date-time"},
        },
    }
    rows = {"type": "array", "minItems": 1, "maxItems": MOST_ROWS, "items": outcome}
    return {"type": "object", "required": ["rows"], "additionalProperties": False, "properties": {"rows": rows}}


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Modelyard gateway</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse}td,th{border:1px solid #c8d2dc;padding:.3rem .8rem;text-align:left}
pre{background:#f3f6f9;padding:1rem;overflow:auto;max-height:40rem;white-space:pre-wrap;overflow-wrap:anywhere}</style>
<h1>Modelyard gateway</h1><p>Replica <b>{replica}</b>.</p>
<table><tr><th>model</th><th>champion</th><th>challenger</th><th>share</th><th>tripped</th></tr>{rows}</table>
<h2>Ask</h2>{asks}
<p>Also: <a href="/healthz">healthz</a>, <a href="/readyz">readyz</a>, <a href="/metrics">metrics</a>,
<a href="/openapi.json">openapi.json</a>.</p>
<details><summary>OpenAPI description</summary><pre>{openapi}</pre></details></html>
"""
