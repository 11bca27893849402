"""``modelyard lineage``: from a served answer, or a version, back to what it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, reported
from modelyard.cli.session import platform, platform_of
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError
from modelyard.flows import lineage as flows


def lineage(
    model: Annotated[str | None, typer.Argument(help="The model; --version needs it, --request does not.")] = None,
    request: Annotated[str | None, typer.Option(help="The request_id of an answer.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="A version of the model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what an answer or a version comes from: release, MLflow run, data, features, code, decisions, people.

    Exits with 1 when there is no such answer or version, or its manifest was changed.

    Example: modelyard lineage --request 5f0c2a9b1e7d1
    """
    with reported():
        if (request is None) == (version is None):
            raise ConfigError("--request, --version", f"{request}, {version}", "one of the two")
        if version is not None and model is None:
            raise ConfigError("--version", version, "used together with MODEL, whose version it is")
        here = platform() if model is None else platform_of(model)
        served = [] if request is None else flows.of_request(here, request, model)
        found = [one for _, one in served]
        if model is not None and version is not None:
            found = [flows.of_version(here, model, version)]
        if as_json:
            emit_json({"served": [row for row, _ in served], "releases": _distinct(found)})
            return
        for row, _ in served:
            emit_table(f"Answer {row.request_id}", ("what", "is"), _answer(row), empty="")
        for one in _distinct(found):
            _tell(one)


def _distinct(found: list[flows.Lineage]) -> list[flows.Lineage]:
    return list({one.release: one for one in found}.values())


def _answer(row: flows.Served) -> list[tuple[str, object]]:
    score = row.error or ("unknown" if row.score is None else f"{row.score:.6f}")
    return [
        ("key", row.key),
        ("answer", score),
        ("answered by", f"{row.model} version {row.version} as {row.variant}, replica {row.replica}"),
        ("release", row.release),
        ("rollout", row.rollout or "none"),
        ("event time", row.event_time.isoformat()),
        ("served at", row.served_at.isoformat()),
        ("outcome", "not known yet" if row.label is None else f"{row.label:g}"),
    ]


def _tell(one: flows.Lineage) -> None:
    manifest = one.manifest
    title = f"{manifest.model} {manifest.semver} (version {manifest.version})"
    emit_table(title, ("what", "is"), _facts(one), empty="")
    rows = [(short(d.digest), d.as_of.date(), d.kind, d.action, "; ".join(d.reasons)) for d in one.decisions]
    emit_table("Decisions", ("digest", "as of", "kind", "action", "reasons"), rows, empty="None was made.")
    answers = [
        (a.by, a.answer, f"{a.at:%Y-%m-%d %H:%M:%S}", "policy" if a.automatic else a.where, a.comment)
        for a in one.approvals
    ]
    emit_table("Approvals", ("by", "answer", "at (UTC)", "where", "comment"), answers, empty="Nobody has answered.")
    times = [
        (r.id, r.role, r.strategy, r.status.replace("_", " "), r.looks, r.decided_by, r.reason) for r in one.rollouts
    ]
    columns = ("rollout", "as", "strategy", "status", "looks", "decided by", "reason")
    emit_table("Rollouts", columns, times, empty="It was in none.")
    for gap in one.gaps:
        console.print(f"Gap: {gap}", markup=False, highlight=False)


def _facts(one: flows.Lineage) -> list[tuple[str, object]]:
    manifest, snapshot = one.manifest, one.snapshot
    data = "not on record" if snapshot is None else (
        f"{snapshot.rows} rows of {snapshot.window}, as known at {snapshot.as_of.isoformat()} ({one.snapshot_state})"
    )  # fmt: skip
    parts = ("feature_service", "training_frame", "params", "environment", "project_code", "platform_code")
    return [
        ("release", one.release),
        ("state", one.state),
        ("bundle", one.bundle),
        ("MLflow run", manifest.mlflow_run_id),
        *([("MLflow page", one.mlflow_url)] if one.mlflow_url else []),
        ("data", data),
        ("snapshot", manifest.snapshot),
        ("DVC", manifest.dvc_md5),
        ("code commit", manifest.code_commit),
        *((name.replace("_", " "), manifest.parts.get(name, "not recorded")) for name in parts),
        ("overrides", ", ".join(sorted(manifest.overrides)) or "none"),
        ("made by", f"{manifest.author}, {manifest.created_at.isoformat()}: {manifest.reason}"),
        *((name, manifest.parts[name]) for name in ("run", "trigger") if name in manifest.parts),
    ]
