"""How risky a release is, from facts: what changed against the champion, and what the gates saw. Pure.

What cannot be told counts as risky.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from modelyard.core.digest import short
from modelyard.core.readiness import supervision
from modelyard.core.records import Release, SemVer
from modelyard.core.value import Digest, Moment, Value
from modelyard.core.verdict import Decision, Measurement, Outcome
from modelyard.governance.policy import GovernancePolicy, Trigger

Json = Mapping[str, Any]
Level = Literal["low", "high"]

_DATA_OF_INPUT = {"vocabulary"}
"""Fields of an input that follow the data and change with every retraining; all others are the contract."""


class Reason(Value):
    """One trigger that applies, and why."""

    trigger: Trigger
    detail: str


class RiskAssessment(Value):
    """The risk of a release, for the gate decision that it was assessed with."""

    release: Digest
    decision: Digest
    level: Level
    reasons: tuple[Reason, ...]
    policy: Digest
    as_of: Moment

    @property
    def summary(self) -> str:
        """One line for people."""
        listed = "; ".join(f"{r.trigger}: {r.detail}" for r in self.reasons)
        return f"{self.level} risk: {listed or 'no trigger of the policy applies'}"


def assess_risk(
    release: Release,
    champion: Release | None,
    decision: Decision,
    policy: GovernancePolicy,
    *,
    signature: Json,
    champion_signature: Json | None,
) -> RiskAssessment:
    """Assess a release against the champion by the policy's triggers.

    ``signature`` and ``champion_signature`` are the JSON forms of the two signatures.
    """
    applying: list[Reason] = []
    if champion is None:
        applying.append(_reason("first_release", "there is no champion to compare with"))
    else:
        applying += _changes(release, champion, signature, champion_signature)
        applying += _accuracy(decision, policy.accuracy_drop)
    applying += _overrides(release)
    applying += _slices(decision, policy.critical_slices)
    if supervision(decision.verdicts) == "with_a_person":
        applying.append(_reason("low_score", "the gates' score asks for a person"))
    reasons = tuple(r for r in applying if r.trigger in policy.high_risk)
    return RiskAssessment(
        release=release.digest,
        decision=decision.digest,
        level="high" if reasons else "low",
        reasons=reasons,
        policy=policy.digest,
        as_of=decision.as_of,
    )


def changed_fields(before: Json, after: Json) -> list[str]:
    """What differs between two signatures, vocabularies aside, for people: ``temp.scale: 1.0 -> 0.5556``."""
    old, new = _contract(before), _contract(after)
    return [f"{key}: {_show(old, key)} -> {_show(new, key)}" for key in sorted(old | new) if _differs(old, new, key)]


def _changes(release: Release, champion: Release, after: Json, before: Json | None) -> Iterator[Reason]:
    if before is None:
        yield _reason("changed_signature", f"the signature of champion {short(champion.digest)} is unknown")
    elif changed := changed_fields(before, after):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield _reason("changed_signature", ", ".join(changed[:3]) + more)
    old, new = SemVer.parse(champion.semver), SemVer.parse(release.semver)
    if old.major != new.major:
        yield _reason("new_architecture", f"version {champion.semver} -> {release.semver}")
    for part in ("architecture", "network"):
        if release.parts.get(part) != champion.parts.get(part):
            yield _reason("new_architecture", f"{part} {champion.parts.get(part)} -> {release.parts.get(part)}")


def _overrides(release: Release) -> Iterator[Reason]:
    if release.overrides:
        yield _reason("manual_override", f"overridden by hand: {', '.join(sorted(release.overrides))}")


def _accuracy(decision: Decision, most: float) -> Iterator[Reason]:
    """A drop in accuracy or AUC, paired with the champion; without such a comparison nothing is known."""
    seen = [m for m in _measured(decision) if m.name in {"accuracy_difference", "auc_difference"}]
    known = [m for m in seen if m.value is not None]
    if not known:
        yield _reason("accuracy_drop", "the gates saw no comparison of accuracy or AUC with the champion")
    for m in known:
        if m.value is not None and m.value < -most:
            yield _reason("accuracy_drop", f"{m.name} {m.value:+.4f}, at most {most:g} may be lost")


def _slices(decision: Decision, critical: tuple[str, ...]) -> Iterator[Reason]:
    for name in critical:
        verdicts = [v for v in decision.verdicts if any(m.slice == name for m in v.measurements)]
        if not verdicts:
            yield _reason("critical_slice", f"the gates saw nothing of {name}")
        for v in verdicts:
            if v.outcome is not Outcome.SUCCESSFUL:
                yield _reason("critical_slice", f"{v.check} of {name} is {v.outcome.value}")


def _measured(decision: Decision) -> Iterator[Measurement]:
    return (m for v in decision.verdicts for m in v.measurements if m.subject == decision.subject and not m.slice)


def _contract(signature: Json) -> dict[str, Any]:
    """The signature as flat fields, inputs by name, with their order as a field of its own."""
    flat = {key: value for key, value in signature.items() if key != "inputs"}
    inputs = signature.get("inputs", [])
    flat["order of inputs"] = [i["name"] for i in inputs]
    for one in inputs:
        flat |= {f"{one['name']}.{k}": v for k, v in one.items() if k not in _DATA_OF_INPUT}
    return flat


def _differs(old: Json, new: Json, key: str) -> bool:
    return (key in old) != (key in new) or old.get(key) != new.get(key)


def _show(fields: Json, key: str) -> str:
    if key not in fields:
        return "absent"
    return f"{len(fields[key])} names" if isinstance(fields[key], list) else str(fields[key])


def _reason(trigger: Trigger, detail: str) -> Reason:
    return Reason(trigger=trigger, detail=detail)
