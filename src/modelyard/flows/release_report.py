"""The report on a release for everybody who has to trust it: what changed, on what evidence, who agreed, how back.

Read from the ledger and the bundles; nothing is measured, and nothing is decided. What is missing is a residual risk
in the report, never left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelyard.config.policies import load_policy
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError, IntegrityError, NotFound
from modelyard.core.records import AnalysisRun, Approval, AuditEvent, Incident, Release, Snapshot
from modelyard.core.verdict import Decision
from modelyard.flows import release_report_sections as sections
from modelyard.flows.drill import drills
from modelyard.flows.releases import diff, verify
from modelyard.flows.rollout_records import history
from modelyard.ports.platform import Platform
from modelyard.release.differences import Change
from modelyard.release.report import Report
from modelyard.rollout.policy import RolloutPolicy
from modelyard.rollout.state import RolloutState


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report says, before it is put into words. ``None`` and empty: not on record, or not yet."""

    release: Release
    state: str
    snapshot: Snapshot | None
    gates: Decision | None
    governance: tuple[Decision, ...]
    approvals: tuple[Approval, ...]
    rival: Release | None
    is_champion: bool
    changes: tuple[Change, ...] | None
    faults: tuple[str, ...]
    plan: RolloutPolicy | None
    rollout: RolloutState | None
    looks: tuple[AnalysisRun, ...]
    way_back: Release | None
    drill: AuditEvent | None
    incidents: tuple[Incident, ...]


def report(platform: Platform, release: Release, now: datetime) -> Report:
    """The report on a release, as things stand now."""
    facts = gather(platform, release)
    title = f"{release.model} {release.semver} (version {release.version}): release report"
    subtitle = f"Written on {now:%Y-%m-%d %H:%M} UTC from the records of the platform; nothing was measured for it."
    return Report(title, subtitle, release.digest, sections.all_of(facts))


def gather(platform: Platform, release: Release) -> Facts:
    """What is on record about a release."""
    ledger, model, digest = platform.ledger, release.model, release.digest
    champion = ledger.releases.champion(model)
    is_champion = champion is not None and champion.digest == digest
    decided = ledger.journal.decisions(model, "gates", digest)
    rollouts = [s for s in history(platform, model) if s.challenger.release == digest]
    rollout = rollouts[-1] if rollouts else None
    rival = _rival(platform, release, decided[-1] if decided else None)
    changes, unread = _changes(platform, rival, release)
    drilled = drills(platform, model)
    return Facts(
        release=release,
        state=ledger.releases.state(digest),
        snapshot=_snapshot(platform, release),
        gates=decided[-1] if decided else None,
        governance=tuple(ledger.journal.decisions(model, "governance", digest)),
        approvals=tuple(ledger.journal.approvals(digest)),
        rival=rival,
        is_champion=is_champion,
        changes=changes,
        faults=(*verify(platform, digest).faults, *unread),
        plan=rollout.policy if rollout else _plan(platform, model),
        rollout=rollout,
        looks=tuple(ledger.rollouts.looks(rollout.id)) if rollout else (),
        way_back=ledger.releases.previous(model) if is_champion else champion,
        drill=drilled[-1] if drilled else None,
        incidents=tuple(i for _, _, i in ledger.journal.incidents(model, open_only=True)),
    )


def _rival(platform: Platform, release: Release, gates: Decision | None) -> Release | None:
    """The champion that the gates compared with; before they have decided, the one that they would compare with."""
    releases = platform.ledger.releases
    if gates is not None:
        others = [r for r, _ in releases.history(release.model) if r.digest != release.digest]
        return next((r for r in others if r.digest in gates.evidence), None)
    champion = releases.champion(release.model)
    return champion if champion is None or champion.digest != release.digest else releases.previous(release.model)


def _changes(
    platform: Platform, rival: Release | None, release: Release
) -> tuple[tuple[Change, ...] | None, tuple[str, ...]]:
    if rival is None:
        return None, ()
    try:
        return diff(platform, rival, release), ()
    except IntegrityError as error:
        return None, (f"it could not be compared with version {rival.version} ({short(rival.digest)}): {error}",)


def _snapshot(platform: Platform, release: Release) -> Snapshot | None:
    try:
        return platform.ledger.snapshots.get(release.snapshot)
    except NotFound:
        return None


def _plan(platform: Platform, model: str) -> RolloutPolicy | None:
    """The policy that a rollout would follow today; None where it cannot be read."""
    try:
        return load_policy(RolloutPolicy, "rollout", platform.settings, model)
    except (ConfigError, NotFound):
        return None
