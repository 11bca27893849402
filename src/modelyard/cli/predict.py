"""``modelyard predict``: ask the gateway, as a user of the model would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.session import platform
from modelyard.core.errors import ConfigError, NotFound, Unavailable
from modelyard.flows import fleet
from modelyard.ports.platform import Platform


def predict(
    model: Model,
    rows: Annotated[str | None, typer.Option(help="Rows as a JSON list of objects.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with such a list.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Use the example rows of the champion's bundle.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the gateway for predictions.

    Example: modelyard predict flight_delay --example
    """
    with reported():
        here = platform()
        body = {"rows": _rows(here, model, rows, file, example)}
        answer = ask(here, model, body)
        if as_json:
            emit_json(answer)
            return
        found = [(p["key"], f"{p['probability']:.4f}", p["label"]) for p in answer["predictions"]]
        title = f"{model} v{answer['version']} ({answer['variant']}), request {answer['request_id']}"
        emit_table(title, ("key", "probability", "label"), found, empty="No row was sent.")
        console.print(f"Next: `modelyard status`, or the gateway's page at {here.settings.gateway_urls[0]}/docs")


def ask(here: Platform, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """One request to the first replica.

    Raises:
        Unavailable: no replica answers, or it answers with an error.
    """
    if not here.settings.gateway_urls:
        raise ConfigError("MODELYARD_GATEWAY_URLS", "", "the gateway's address", hint="Start it: `make run`.")
    url = f"{here.settings.gateway_urls[0]}/v1/models/{model}/predict"
    try:
        response = httpx.post(url, json=body, timeout=10)
    except httpx.HTTPError as error:
        raise Unavailable(f"the gateway at {url} does not answer ({error}); `modelyard doctor` says why") from error
    if response.status_code != httpx.codes.OK:
        raise Unavailable(f"the gateway answered {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def _rows(here: Platform, model: str, rows: str | None, file: Path | None, example: bool) -> list[dict[str, Any]]:
    if sum((rows is not None, file is not None, example)) != 1:
        raise ConfigError("rows", "<none or several>", "exactly one of --rows, --file, --example")
    if example:
        return _example(here, model)
    text = rows if rows is not None else file.read_text(encoding="utf-8") if file else ""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError("rows", text[:80], f"a JSON list of objects: {error}") from None
    if not isinstance(found, list):
        raise ConfigError("rows", text[:80], "a JSON list of objects")
    return found


def _example(here: Platform, model: str) -> list[dict[str, Any]]:
    champion = here.ledger.releases.champion(model)
    if champion is None:
        raise NotFound("champion of", model, hint="`make run` trains and rolls out the first one.")
    return fleet.example(fleet.arm_of(here, champion))
