"""Why a retraining run exists: the calendar, the governor's event, or a person; and whether it is still needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from airflow.sdk import Context

from modelyard.core.window import parse_moment
from modelyard.ports.platform import Platform
from modelyard_airflow.catalogue import drift_asset

GOVERNOR = "governor"
CALENDAR = "calendar"


@dataclass(frozen=True)
class Cause:
    """What a retraining is for. ``evidence`` is the digest of the governor's decision, where there is one."""

    as_of: str
    reason: str
    trigger: str
    author: str
    evidence: str = ""

    def identifiers(self) -> dict[str, str]:
        """The form that is handed from task to task."""
        return asdict(self)


def cause(model: str, context: Context, default_as_of: datetime) -> Cause:
    """Read the run's cause from what started it; what a person gave comes first."""
    given: dict[str, Any] = {key: value for key, value in (context.get("params") or {}).items() if value}
    run = context["dag_run"]
    event = _newest_event(context)
    moment = given.get("as_of") or event.get("as_of") or default_as_of.isoformat()
    person = run.triggering_user_name
    if event:
        found = (event.get("reason", "drift"), f"asset:{drift_asset(model).uri}", GOVERNOR, event.get("decision", ""))
    elif run.run_type == "scheduled":
        found = ("the weekly retraining", "schedule", CALENDAR, "")
    else:
        found = ("asked for by hand", "manual", person or "unknown", "")
    reason, trigger, author, evidence = found
    return Cause(
        as_of=parse_moment(str(moment)).isoformat(),
        reason=str(given.get("reason") or reason),
        trigger=trigger,
        author=author,
        evidence=evidence,
    )


def answered(platform: Platform, model: str, found: Cause) -> str:
    """Why the retraining is not needed any more; empty when it is.

    Events may wait behind a run that is active, so what asked for this run can have been answered by the one before.
    """
    if (rollout := platform.ledger.rollouts.current(model)) is not None:
        return f"rollout {rollout} is open; its outcome comes first"
    if found.trigger == "manual":
        return ""
    moment = parse_moment(found.as_of)
    for release, state in platform.ledger.releases.history(model):
        if release.as_of >= moment and not release.overrides:
            return (
                f"version {release.version} ({state}) was trained as of {release.as_of:%Y-%m-%d %H:%M}, not before this"
            )
    return ""


def _newest_event(context: Context) -> dict[str, Any]:
    events = context["triggering_asset_events"] if context["dag_run"].run_type == "asset_triggered" else {}
    extras = [event.extra or {} for _, found in dict(events).items() for event in found]
    return max(extras, key=lambda extra: str(extra.get("as_of", "")), default={})
