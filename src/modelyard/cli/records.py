"""``modelyard incidents``, ``resolve``, ``decisions``, ``releases``: the platform's records."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated, get_args

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.session import platform, platform_of
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError, NotFound
from modelyard.core.records import AuditEvent
from modelyard.core.verdict import DecisionKind
from modelyard.ports.platform import Platform


def incidents(
    model: Annotated[str | None, typer.Argument(help="Only this model's incidents.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show incidents that need a person.

    Example: modelyard incidents --all
    """
    with reported():
        found = _here(model).ledger.journal.incidents(model, open_only=not everything)
        if as_json:
            emit_json([{"id": number, "state": state, **incident.to_dict()} for number, state, incident in found])
            return
        rows = [(number, state, i.model, i.kind, i.title, i.next_step) for number, state, i in found]
        emit_table("Incidents", ("id", "state", "model", "kind", "what", "next step"), rows, empty="Nothing to do.")


def resolve(
    number: Annotated[int, typer.Argument(help="The incident's id, as `modelyard incidents` shows it.")],
    why: Annotated[str, typer.Option(help="What was found and done.", prompt="What was found and done")],
) -> None:
    """Close an incident that a person has dealt with; recorded in the audit log.

    Example: modelyard resolve 3 --why "the feed was mended"
    """
    with reported():
        journal, now = platform().ledger.journal, datetime.now(UTC)
        found = {i: incident for i, _, incident in journal.incidents(open_only=True)}
        if number not in found:
            raise NotFound("open incident", number, known=map(str, found))
        incident = found[number]
        journal.resolve_incident(incident.key, now, why)
        journal.audit(
            AuditEvent(
                at=now, actor=getpass.getuser(), action="incident resolved", model=incident.model,
                subject=incident.key, reason=why,
            )
        )  # fmt: skip
        console.print(f"Closed: {incident.title}", markup=False, highlight=False)


def decisions(
    model: Model,
    kind: Annotated[
        str | None, typer.Option(help="validation, parity, governor, gates, governance or rollout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was decided about a model, why, and on which evidence.

    Example: modelyard decisions flight_delay --kind gates
    """
    with reported():
        if kind is not None and kind not in get_args(DecisionKind):
            raise ConfigError("--kind", kind, get_args(DecisionKind))
        found = platform_of(model).ledger.journal.decisions(model, kind)
        if as_json:
            emit_json([{"digest": decision.digest, **decision.to_dict()} for decision in found])
            return
        rows = [
            (short(d.digest), d.as_of.date(), d.kind, d.action, short(d.subject), "; ".join(d.reasons)) for d in found
        ]
        columns = ("digest", "as of", "kind", "action", "subject", "reasons")
        emit_table(f"Decisions on {model}", columns, rows, empty="None has been made yet.")


def releases(model: Model, as_json: AsJson = False) -> None:
    """Show the releases of a model, with their digests and states.

    Example: modelyard releases flight_delay
    """
    with reported():
        here = platform_of(model)
        champion = here.ledger.releases.champion(model)
        found = here.ledger.releases.history(model)
        if as_json:
            emit_json([{"digest": r.digest, "state": state, **r.to_dict()} for r, state in found])
            return
        rows = [
            (r.version, r.semver, short(r.digest), "champion" if r == champion else state, r.as_of.date(), r.reason)
            for r, state in found
        ]
        columns = ("version", "semver", "digest", "state", "as of", "reason")
        emit_table(f"Releases of {model}", columns, rows, empty=f"`modelyard train {model}` makes the first one.")


def reconcile(model: Model, as_json: AsJson = False) -> None:
    """Make MLflow's aliases and version tags say what the ledger says; reports what was different.

    Example: modelyard reconcile flight_delay
    """
    from modelyard.flows.registry import reconcile as bring_in_line

    with reported():
        changed = bring_in_line(platform(), model)
        if as_json:
            emit_json(changed)
            return
        emit_table(f"Mended in MLflow for {model}", ("what",), [(line,) for line in changed], empty="They agree.")


def _here(model: str | None) -> Platform:
    return platform() if model is None else platform_of(model)
