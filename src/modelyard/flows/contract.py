"""Data contracts on the platform: its own rules made measurable on one snapshot, and proposals of a contract."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from modelyard.config.project import Project, load_project
from modelyard.core.errors import Conflict, EvidenceMissing, ModelyardError
from modelyard.core.profile import Profile
from modelyard.core.records import Snapshot
from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.drift.counts import count
from modelyard.drift.distances import psi
from modelyard.flows import features
from modelyard.ports.datasets import Rule
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle
from modelyard.validation.contract import DISTRIBUTION, FRESH, PLATFORM_RULES, REFERS, VOLUME, Contract
from modelyard.validation.infer import propose, written
from modelyard.validation.tables import file_values, values_of

if TYPE_CHECKING:
    import pandas as pd


def resolve(
    platform: Platform, project: Project, snapshot: Snapshot, contract: Contract
) -> tuple[tuple[Rule, ...], tuple[Verdict, ...]]:
    """The contract's rules as expectations of Great Expectations with the snapshot's own bounds and sets.

    A rule whose other table cannot be read is not among them: it comes back as a verdict of outcome ``error``.
    """
    rules: list[Rule] = []
    errors: list[Verdict] = []
    for rule in contract.rules:
        if rule.type not in PLATFORM_RULES:
            rules.append(rule)
            continue
        try:
            if (measurable := _resolved(platform, project, snapshot, rule)) is not None:
                rules.append(measurable)
        except (ModelyardError, OSError, ValueError, KeyError) as error:
            errors.append(_verdict(rule, Outcome.ERROR, f"{rule.id}: {error}", None, snapshot))
    return tuple(rules), tuple(errors)


def compare(platform: Platform, snapshot: Snapshot, frame: pd.DataFrame, contract: Contract) -> tuple[Verdict, ...]:
    """The verdicts of the rules that compare distributions with the champion's reference profile."""
    wanted = [rule for rule in contract.rules if rule.type == DISTRIBUTION]
    if not wanted:
        return ()
    champion = platform.ledger.releases.champion(snapshot.model)
    if champion is None:
        return tuple(_no_champion(rule, snapshot) for rule in wanted)
    bundle = read_bundle(platform.ledger.releases.bundle(champion.digest), champion.digest)
    reference = Profile.from_json(bundle.files["profile.json"])
    return tuple(_compared(rule, reference, snapshot, frame) for rule in wanted)


def infer(platform: Platform, model: str, content: str = "") -> str:
    """A proposed contract, as YAML for review, from a snapshot (by default the model's newest one). Changes nothing.

    Raises:
        EvidenceMissing: there is no snapshot, or it has too few rows.
    """
    taken = platform.ledger.snapshots.of(model)
    if not content and not taken:
        raise EvidenceMissing(f"{model} has no snapshot to look at; `modelyard data snapshot {model}` takes one")
    snapshot = platform.ledger.snapshots.get(content) if content else max(taken, key=lambda s: s.as_of)
    if snapshot.model != model:
        raise Conflict(f"snapshot {snapshot.content} is of {snapshot.model}, not of {model}")
    project = load_project(model, platform.settings)
    return written(propose(project, snapshot, platform.datasets.read(snapshot)), snapshot)


def _resolved(platform: Platform, project: Project, snapshot: Snapshot, rule: Rule) -> Rule | None:
    given = rule.arguments
    match rule.type:
        case str(kind) if kind == FRESH:
            oldest = snapshot.as_of - timedelta(hours=given["max_age_hours"])
            bounds = {"column": given["column"], "min_value": oldest, "max_value": snapshot.as_of}
            return _as(rule, "ExpectColumnMaxToBeBetween", bounds)
        case str(kind) if kind == VOLUME:
            days = snapshot.window.days
            bounds = {"min_value": math.ceil(given["min_value"] * days), "max_value": int(given["max_value"] * days)}
            return _as(rule, "ExpectTableRowCountToBeBetween", bounds)
        case str(kind) if kind == REFERS:
            values = sorted(_referred(platform, project, snapshot, given["table"], given["key"]))
            more = {"mostly": given["mostly"]} if "mostly" in given else {}
            return _as(rule, "ExpectColumnValuesToBeInSet", {"column": given["column"], "value_set": values, **more})
    return None


def _as(rule: Rule, kind: str, arguments: dict[str, Any]) -> Rule:
    return rule.model_copy(update={"type": kind, "arguments": arguments})


def _referred(platform: Platform, project: Project, snapshot: Snapshot, table: str, key: str) -> set[Any]:
    """The values of a column of a feature view as built for the snapshot, or of a file in the model's folder."""
    if table not in project.spec.feature_views:
        return file_values(project.folder, table, key, project.spec.feature_views)
    features.build(platform, project.name, snapshot.as_of)
    return values_of(platform.settings.home / "features" / project.name / f"{table}.parquet", key)


def _no_champion(rule: Rule, snapshot: Snapshot) -> Verdict:
    # A first version has no reference, and never would have one if this blocked it.
    weaker = rule.model_copy(update={"severity": Severity.WARNING})
    reason = f"{rule.id}: there is no champion yet, so there is no reference profile to compare with"
    return _verdict(weaker, Outcome.INCONCLUSIVE, reason, None, snapshot)


def _compared(rule: Rule, reference: Profile, snapshot: Snapshot, frame: pd.DataFrame) -> Verdict:
    column, most = rule.column, rule.arguments["max_psi"]
    if column not in reference.names:
        known = ", ".join(reference.names)
        return _verdict(
            rule, Outcome.ERROR, f"{rule.id}: the champion's profile has no {column}; it has {known}", None, snapshot
        )
    if column not in frame.columns:
        return _verdict(rule, Outcome.ERROR, f"{rule.id}: the snapshot has no column {column}", None, snapshot)
    value = psi(reference.feature(column), count(reference, frame[[column]]).feature(column))
    if value is None:
        return _verdict(rule, Outcome.INCONCLUSIVE, f"{rule.id}: no rows to compare", None, snapshot)
    outcome = Outcome.SUCCESSFUL if value <= most else Outcome.FAILED
    return _verdict(rule, outcome, f"{rule.id}: PSI {value:.3f}, at most {most:g} is accepted", value, snapshot)


def _verdict(rule: Rule, outcome: Outcome, reason: str, value: float | None, snapshot: Snapshot) -> Verdict:
    name = "psi" if rule.type == DISTRIBUTION else rule.id
    why = "" if value is not None else reason
    bound = rule.arguments.get("max_psi")
    return Verdict(
        check=rule.id,
        outcome=outcome,
        severity=rule.severity,
        reason=reason,
        condition=None if bound is None else Condition(direction="at_most", bound=bound),
        measurements=(Measurement(name=name, value=value, n=snapshot.rows, subject=snapshot.content, why=why),),
        category="data",
    )
