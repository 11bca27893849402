"""Admits a snapshot, or quarantines it and stops the line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from modelyard.config.project import Project, load_project
from modelyard.core.digest import digest_bytes, digest_file, short
from modelyard.core.errors import ConfigError, Conflict, ValidationFailed
from modelyard.core.records import AuditEvent, Incident, Snapshot
from modelyard.core.verdict import Decision, Outcome, Severity
from modelyard.flows import bad_rows, contract
from modelyard.ports.datasets import ValidationReport
from modelyard.ports.platform import Platform
from modelyard.validation.bad_rows import find
from modelyard.validation.contract import SUITE, read_contract

ACTOR = "modelyard"


def validate(platform: Platform, content: str, *, now: datetime | None = None) -> ValidationReport:
    """Run the model's reviewed contract over a snapshot, decide, and record the decision.

    A critical rule that failed, or could not be evaluated, quarantines the snapshot, opens an incident and raises; a
    warning is recorded and lets the snapshot pass. Rows that break a rule are kept beside the snapshot with the reason
    for each; those that the contract sets aside are not trained on, and too many of them quarantine the whole. Only a
    changed contract, which is reviewed like code, can admit a quarantined snapshot; the audit log says so. ``now`` is
    when it is done; by default, now.

    Raises:
        ValidationFailed: the snapshot is quarantined.
        Conflict: the very suite that quarantined the snapshot would admit it now.
        ConfigError: the model has no suite, or the suite is wrong.
    """
    snapshot = platform.ledger.snapshots.get(content)
    project = load_project(snapshot.model, platform.settings)
    suite = project.folder / SUITE
    if not suite.is_file():
        raise ConfigError("expectations", str(suite), "a reviewed suite of expectations", where=snapshot.model)
    report = _measure(platform, project, snapshot, suite)
    decision = decide(snapshot, report, digest_file(suite))
    platform.ledger.journal.decide(decision)
    if decision.action == "quarantine":
        _quarantine(platform, snapshot, decision, report, now or datetime.now(UTC))
        raise ValidationFailed(
            f"snapshot {short(content)} of {snapshot.model} is quarantined: {'; '.join(decision.reasons)}. "
            f"The report is {report.document}; mend the source, then take a new snapshot."
        )
    if platform.ledger.snapshots.state(content) == "quarantined":
        _readmit(platform, snapshot, decision, now or datetime.now(UTC))
    else:
        platform.ledger.snapshots.mark(content, "valid", decision.summary)
    return report


def _measure(platform: Platform, project: Project, snapshot: Snapshot, suite: Path) -> ValidationReport:
    """The verdict of every rule, and of the bad rows together; keeps the bad rows."""
    contract_file = read_contract(suite)
    rows = platform.datasets.read(snapshot)
    rules, errors = contract.resolve(platform, project, snapshot, contract_file)
    report = platform.validator.validate(snapshot, rows, rules, snapshot.as_of, where=str(suite))
    found = find(rows, rules, project.spec.source.key)
    kept = bad_rows.keep(platform, snapshot, found, digest_file(suite))
    together = bad_rows.verdict(snapshot, found, contract_file.max_share, kept)
    compared = contract.compare(platform, snapshot, rows, contract_file)
    untold = bad_rows.untold(contract_file.rules, (*report.verdicts, *errors), found)
    more = (*errors, *compared, *((together,) if together else ()), *untold)
    return report.model_copy(update={"verdicts": (*report.verdicts, *more)})


def decide(snapshot: Snapshot, report: ValidationReport, suite: str) -> Decision:
    """Admit or quarantine, with reasons. Without rows or any verdict there is no evidence, and so no admission."""
    blocking = [verdict for verdict in report.verdicts if verdict.blocks]
    warned = [v for v in report.verdicts if v.severity is Severity.WARNING and v.outcome is not Outcome.SUCCESSFUL]
    nothing = not report.verdicts or snapshot.rows == 0
    if nothing:
        reasons = ["the snapshot has no rows" if report.verdicts else "no expectation was evaluated"]
    elif blocking:
        reasons = [verdict.reason for verdict in blocking]
    else:
        aside = [v.reason for v in report.verdicts if v.check == bad_rows.CHECK]
        held = f"all critical expectations hold ({len(report.verdicts)} evaluated)"
        reasons = [held, *aside, *(v.reason for v in warned)]
    return Decision(
        kind="validation",
        action="quarantine" if blocking or nothing else "admit",
        model=snapshot.model,
        subject=snapshot.content,
        reasons=tuple(reasons),
        verdicts=report.verdicts,
        evidence=(snapshot.content, digest_bytes(snapshot.to_json().encode())),
        policy=suite,
        as_of=report.as_of,
    )


def _quarantine(
    platform: Platform, snapshot: Snapshot, decision: Decision, report: ValidationReport, now: datetime
) -> None:
    ledger, why = platform.ledger, "; ".join(decision.reasons)
    ledger.snapshots.mark(snapshot.content, "quarantined", why)
    ledger.journal.raise_incident(
        Incident(
            key=_key(snapshot),
            model=snapshot.model,
            kind="validation",
            severity=Severity.BLOCKER,
            title=f"Snapshot {short(snapshot.content)} of {snapshot.model} is quarantined",
            detail=why,
            opened_at=now,
            evidence=(report.document, decision.digest),
            next_step="Read the report, mend the source or the suite, take a new snapshot.",
        )
    )
    ledger.journal.audit(_event(decision, "quarantine", now))


def _readmit(platform: Platform, snapshot: Snapshot, decision: Decision, now: datetime) -> None:
    ledger, content = platform.ledger, snapshot.content
    earlier = ledger.journal.decisions(snapshot.model, "validation", content)
    if decision.policy in {d.policy for d in earlier if d.action == "quarantine"}:
        raise Conflict(f"snapshot {content} was quarantined by this very suite and stays so; take a new snapshot")
    ledger.journal.audit(_event(decision, "readmit", now))
    ledger.snapshots.readmit(content, decision.summary)
    ledger.journal.resolve_incident(_key(snapshot), now, "a mended suite admits the snapshot")


def _key(snapshot: Snapshot) -> str:
    return f"validation:{snapshot.content}"


def _event(decision: Decision, action: str, now: datetime) -> AuditEvent:
    return AuditEvent(
        at=now,
        actor=ACTOR,
        action=f"snapshot.{action}",
        model=decision.model,
        subject=decision.subject,
        reason="; ".join(decision.reasons),
        digests=(decision.subject, decision.digest, decision.policy),
        detail={"as_of": decision.as_of.isoformat()},
    )
