"""Why a retraining run exists: the calendar, the governor's event, or a person; and whether it is still needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from airflow.sdk import Context

from modelyard.core.digest import short
from modelyard.core.errors import EvidenceMissing, ModelyardError
from modelyard.core.records import Release
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
    run: str = ""

    def identifiers(self) -> dict[str, str]:
        """The form that is handed from task to task."""
        return asdict(self)

    def origin(self) -> dict[str, str]:
        """What the release keeps of it."""
        return {key: value for key, value in asdict(self).items() if key in ("run", "trigger", "evidence") and value}


def cause(platform: Platform, model: str, context: Context, default_as_of: datetime) -> Cause:
    """Read the run's cause from what started it; what a person gave comes first.

    Raises:
        EvidenceMissing: an asset's event started it that no decision of the governor stands behind.
    """
    given: dict[str, Any] = {key: value for key, value in (context.get("params") or {}).items() if value}
    run = context["dag_run"]
    event = _newest_event(platform, model, context) if run.run_type == "asset_triggered" else {}
    moment = given.get("as_of") or event.get("as_of") or default_as_of.isoformat()
    person = run.triggering_user_name
    if event:
        found = (event.get("reason", "drift"), f"asset:{drift_asset(model).uri}", GOVERNOR, event.get("decision", ""))
    elif run.run_type == "backfill":
        found = ("a backfill", "backfill", person or "unknown", "")
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
        run=run.run_id,
    )


def answered(platform: Platform, model: str, found: Cause) -> str:
    """Why the retraining is not needed any more; empty when it is.

    Events may wait behind a run that is active, so what asked for this run can have been answered by the one before.
    What this very run made, before it was cleared, answers nothing; nor does a release that did not pass its gates or
    that people rejected.
    """
    if (rollout := platform.ledger.rollouts.current(model)) is not None:
        return f"rollout {rollout} is open; its outcome comes first"
    if found.trigger in ("manual", "backfill"):
        return ""
    if found.evidence:
        judged, champion = (
            platform.ledger.journal.decision(found.evidence).subject,
            platform.ledger.releases.champion(model),
        )
        if champion is None or champion.digest != judged:
            return f"the governor judged release {short(judged)}, which is not the champion any more"
    moment = parse_moment(found.as_of)
    for release, state in platform.ledger.releases.history(model):
        own = release.parts.get("run") == found.run
        counts = state == "ready" and not own and not release.overrides and not _rejected(platform, release)
        if release.as_of >= moment and counts:
            return (
                f"version {release.version} ({state}) was trained as of {release.as_of:%Y-%m-%d %H:%M}, not before this"
            )
    return ""


def _rejected(platform: Platform, release: Release) -> bool:
    concluded = platform.ledger.journal.decisions(release.model, "governance", release.digest)
    return bool(concluded) and concluded[-1].action == "reject"


def _check(platform: Platform, model: str, event: dict[str, Any]) -> None:
    """Anybody who may write to Airflow can make an asset's event; only the ledger says what the governor decided."""
    digest = str(event.get("decision") or "")
    if not digest:
        raise EvidenceMissing(
            "the event that started this run names no decision of the governor; start the run by hand"
        )
    decision = platform.ledger.journal.decision(digest)
    about = (decision.kind, decision.action, decision.model)
    if about != (GOVERNOR, "retrain", model):
        raise EvidenceMissing(f"the event names decision {digest}, which is {about}, not that {model} be retrained")
    if _moment(event.get("as_of")) != decision.as_of:
        raise EvidenceMissing(f"the event says as_of {event.get('as_of')}, its decision {decision.as_of.isoformat()}")


def _moment(text: object) -> datetime | None:
    try:
        return parse_moment(str(text))
    except ValueError:
        return None


def _newest_event(platform: Platform, model: str, context: Context) -> dict[str, Any]:
    """Of the events that started the run, the newest that the governor stands behind: one that somebody made up must
    not take another with it."""
    sound: list[dict[str, Any]] = []
    refused: list[ModelyardError] = []
    for event in (event for found in dict(context["triggering_asset_events"]).values() for event in found):
        try:
            _check(platform, model, event.extra or {})
        except ModelyardError as error:
            refused.append(error)
        else:
            sound.append(event.extra)
    if sound:
        return max(sound, key=lambda extra: parse_moment(str(extra["as_of"])))
    raise refused[0] if refused else EvidenceMissing("no event came with this run; start it by hand")
