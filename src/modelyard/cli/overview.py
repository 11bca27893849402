"""``modelyard status``: who is champion, what is being rolled out, what needs a person."""

from __future__ import annotations

from typing import Any

from modelyard.cli.output import AsJson, console, emit_json, emit_table, reported
from modelyard.cli.session import platform
from modelyard.config.project import project_folders
from modelyard.core.digest import short
from modelyard.ports.platform import Platform


def status(as_json: AsJson = False) -> None:
    """Show every model: its champion, its open rollout, its last drift check, its open incidents.

    Example: modelyard status --json
    """
    with reported():
        here = platform()
        models = {name: model_status(here, name) for name in sorted(project_folders(here.settings))}
        if as_json:
            emit_json(models)
            return
        rows = [
            (name, _champion(m), m["rollout"] or "none", _check(m), len(m["incidents"])) for name, m in models.items()
        ]
        emit_table(
            "Models",
            ("model", "champion", "open rollout", "last drift check", "open incidents"),
            rows,
            empty="`modelyard init NAME` makes the first one.",
        )
        for name, m in models.items():
            for number, title in m["incidents"]:
                console.print(f"  incident {number} of {name}: {title}", markup=False)
        console.print("Next: `modelyard rollout history MODEL`, `modelyard drift history MODEL`.")


def model_status(here: Platform, name: str) -> dict[str, Any]:
    """Plain data on one model."""
    champion = here.ledger.releases.champion(name)
    checks = here.ledger.journal.checks(name, brief=True)
    incidents = here.ledger.journal.incidents(name, open_only=True)
    return {
        "champion": champion
        and {
            "version": champion.version,
            "semver": champion.semver,
            "release": champion.digest,
            "mlflow_run_id": champion.mlflow_run_id,
        },
        "rollout": here.ledger.rollouts.current(name),
        "last_check": checks[-1] if checks else None,
        "incidents": [(number, incident.title) for number, _, incident in incidents],
    }


def _champion(m: dict[str, Any]) -> str:
    if not m["champion"]:
        return "none yet"
    return f"v{m['champion']['version']} ({m['champion']['semver']}, {short(m['champion']['release'])})"


def _check(m: dict[str, Any]) -> str:
    check = m["last_check"]
    return f"{check.get('as_of', '?')}: {check.get('action', '?')}" if check else "never"
