"""What a person is shown who is asked to approve: Markdown, from the facts alone."""

from __future__ import annotations

from modelyard.core.readiness import SUPERVISION
from modelyard.core.records import Release
from modelyard.core.verdict import Decision, Outcome, Verdict
from modelyard.governance.policy import GovernancePolicy
from modelyard.governance.risk import RiskAssessment


def title(release: Release) -> str:
    """The question in a line."""
    return f"{release.model} {release.semver} (version {release.version}): approve this release?"


def body(release: Release, gates: Decision, risk: RiskAssessment, policy: GovernancePolicy, registry: str) -> str:
    """What it is, why it is risky, what the gates saw, what the answer binds. ``registry`` is MLflow's address."""
    people = (
        f"{policy.quorum} people must approve" if risk.level == "high" else "approved by policy, people may answer too"
    )
    made = (
        f"**{release.model} {release.semver}** (version {release.version}), made by {release.author}: {release.reason}"
    )
    page = f"{registry.rstrip('/')}/#/models/{release.model}/versions/{release.version}"
    lines = [
        made,
        "",
        f"**{risk.level.capitalize()} risk**: {people}.",
        *(f"- {r.trigger}: {r.detail}" for r in risk.reasons),
        "",
        *readiness(gates),
        "| gate | severity | outcome | reason |",
        "|---|---|---|---|",
        *(_row(v) for v in sorted(gates.verdicts, key=_urgency)),
        "",
        f"[Version {release.version} in MLflow]({page}), run `{release.mlflow_run_id}`." if registry else "",
        "",
        f"Your answer is bound to release `{release.digest}` and gate decision `{gates.digest}`: new evidence",
        "voids it.",
    ]
    return "\n".join(lines)


def readiness(gates: Decision) -> list[str]:
    """The score and what it asks for, as a paragraph; nothing where no score was made."""
    found = next((v for v in gates.verdicts if v.check == SUPERVISION), None)
    if found is None or not found.measurements or found.measurements[0].value is None:
        return []
    return [f"**Readiness {found.measurements[0].value:.1f} of 100**, {found.reason.replace('_', ' ')}.", ""]


def _row(verdict: Verdict) -> str:
    reason = verdict.reason.replace("|", "\\|").replace("\n", " ")
    severity = f"{verdict.severity.value}{' (dry run)' if verdict.dry_run else ''}"
    return f"| {verdict.check} | {severity} | {verdict.outcome.value} | {reason} |"


def _urgency(verdict: Verdict) -> tuple[bool, bool, int]:
    """What did not succeed first, what counts before what only tries out, the gravest before the rest."""
    return verdict.outcome is Outcome.SUCCESSFUL, verdict.dry_run, -verdict.severity.rank
