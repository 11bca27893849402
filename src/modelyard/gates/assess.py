"""Judges a release by its evidence. Pure, and fails closed: what is absent, foreign, of the future or no number never
passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from modelyard.core.digest import digest_json, short
from modelyard.core.readiness import SUPERVISION
from modelyard.core.value import Digest
from modelyard.core.verdict import Condition, Decision, Measurement, Outcome, Severity, Verdict
from modelyard.gates.policy import SCORED, Gate, GatePolicy, Profile
from modelyard.gates.score import Share, score_verdicts

READY, BLOCKED = "ready", "blocked"
NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class _Case:
    """What is assessed: the release, against which champion, with what was known when.

    ``lost`` says that the model had a champion and has none now: that is no first release.
    """

    measurements: Sequence[Measurement]
    release: Digest
    champion: Digest | None
    as_of: datetime
    first_release: str
    lost: bool


def assess(
    policy: GatePolicy,
    measurements: Sequence[Measurement],
    *,
    model: str,
    release: Digest,
    champion: Digest | None,
    as_of: datetime,
    evidence: Digest | None = None,
    profile: Profile = "candidate",
    had_champion: bool = False,
) -> Decision:
    """One verdict per gate of the profile, then the score's, and ``ready`` only if no blocker is left among them.

    A measurement counts for a release when its ``subject`` is that release's digest; a comparison's ``variant`` names
    the champion that was compared with. ``champion`` None means that there is none: the model's first release, unless
    ``had_champion`` says that there was one, which is then missing. ``evidence`` names the document that holds the
    measurements; by default they are cited by their own digest.
    """
    lost = champion is None and had_champion
    case = _Case(measurements, release, champion, as_of, policy.first_release, lost)
    gates = policy.of(profile)
    judged = {name: _judge(name, gate, case) for name, gate in gates.items()}
    verdicts = (*judged.values(), *_score(policy, gates, judged, release, profile))
    blocking = [v for v in verdicts if v.blocks]
    return Decision(
        kind="gates",
        action=BLOCKED if blocking else READY,
        model=model,
        subject=release,
        reasons=_reasons(verdicts, len(judged), blocking),
        verdicts=verdicts,
        evidence=(evidence or evidence_digest(measurements), *([champion] if champion else [])),
        policy=policy.digest,
        as_of=as_of,
    )


def _reasons(verdicts: Sequence[Verdict], gates: int, blocking: Sequence[Verdict]) -> tuple[str, ...]:
    if blocking:
        return tuple(f"{v.check} {v.outcome.value}: {v.reason}" for v in blocking)
    passed = sum(v.outcome is Outcome.SUCCESSFUL for v in verdicts[:gates])
    told = [v for v in verdicts if v.outcome is not Outcome.SUCCESSFUL or v.check == SUPERVISION]
    return (
        f"{passed} of {gates} gates passed, no blocker is left",
        *(f"{v.check} {v.outcome.value}: {v.reason}" for v in told),
    )


def _score(
    policy: GatePolicy, gates: Mapping[str, Gate], judged: Mapping[str, Verdict], release: Digest, profile: Profile
) -> tuple[Verdict, ...]:
    if policy.score is None or profile not in SCORED:
        return ()
    counting = [(gates[name], verdict) for name, verdict in judged.items() if _counts(gates[name], verdict)]
    shares = [
        Share(
            area=gate.counts_for,
            weight=policy.score.weights[gate.severity] if gate.weight is None else gate.weight,
            passed=verdict.outcome is Outcome.SUCCESSFUL,
        )
        for gate, verdict in counting
    ]
    return score_verdicts(policy.score, shares, any(v.blocks for v in judged.values()), release)


def _counts(gate: Gate, verdict: Verdict) -> bool:
    return not gate.dry_run and not verdict.reason.startswith(NOT_APPLICABLE)


def evidence_digest(measurements: Sequence[Measurement]) -> Digest:
    """The digest of a set of measurements, whatever their order.

    What cannot be a value (a NaN that was smuggled past validation) is written as text, so that even corrupt evidence
    has a name.
    """
    return digest_json(sorted(m.model_dump_json() for m in measurements))


def _judge(name: str, gate: Gate, case: _Case) -> Verdict:
    if why := _not_applicable(gate, case):
        reason = f"{NOT_APPLICABLE}: {why}"
        return _verdict(name, gate, Outcome.INCONCLUSIVE, reason, severity=Severity.INFORMATIONAL)
    if gate.needs_champion and case.champion is None:
        return _verdict(name, gate, Outcome.INCONCLUSIVE, f"there is no champion to compare with ({_whither(case)})")
    found = _find(gate, case, case.release)
    if isinstance(found, _Flaw):
        return _verdict(name, gate, found.outcome, found.reason, *found.measurements)
    condition, against = _condition(gate, case)
    if isinstance(condition, _Flaw):
        return _verdict(name, gate, condition.outcome, f"champion: {condition.reason}", found, *condition.measurements)
    value = _number(found, gate)
    if value is None:
        reason = f"{gate.measurement} has no {gate.uses} bound: its uncertainty is unknown"
        return _verdict(name, gate, Outcome.INCONCLUSIVE, reason, found)
    holds = condition.holds(value)
    which = "" if gate.uses == "value" else f" ({gate.uses})"
    reason = f"{_what(gate)}{which} {value:.6g}, must be {condition}{against}, n = {found.n}"
    outcome = Outcome.SUCCESSFUL if holds else Outcome.FAILED
    return _verdict(name, gate, outcome, reason, found, condition=condition)


def _whither(case: _Case) -> str:
    return "it had one, which is missing from the ledger" if case.lost else "first_release: require"


def _not_applicable(gate: Gate, case: _Case) -> str:
    """Why the policy does not ask this of the release; what does not apply is never called passed."""
    if gate.when == "never":
        return f"the policy exempts this model: {gate.because}"
    if gate.needs_champion and case.champion is None and not case.lost and case.first_release == "skip":
        return "the model has no champion yet (first_release: skip)"
    if gate.when == "first_release" and (case.champion is not None or case.lost):
        return "a bar for first releases; this one is compared with a champion"
    return ""


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Why there is no usable evidence."""

    outcome: Outcome
    reason: str
    measurements: tuple[Measurement, ...] = ()


def _find(gate: Gate, case: _Case, subject: Digest) -> Measurement | _Flaw:
    """The one measurement of this subject, or what is wrong with the evidence."""
    named = [m for m in case.measurements if m.name == gate.measurement and m.slice == gate.slice]
    own = [m for m in named if m.subject == subject]
    foreign = [m for m in named if m.subject not in {case.release, case.champion}]
    if not own and foreign:
        whose = short(foreign[0].subject) if foreign[0].subject else "no version"
        return _Flaw(Outcome.ERROR, f"{_what(gate)} is of {whose}, not of {short(subject)}", tuple(foreign))
    if not own:
        return _Flaw(Outcome.INCONCLUSIVE, f"no evidence: {_what(gate)} of {short(subject)} was not measured")
    if len(set(own)) > 1:
        return _Flaw(Outcome.ERROR, f"{len(set(own))} contradicting measurements of {_what(gate)}", tuple(own))
    return _sound(gate, own[0], case)


def _sound(gate: Gate, found: Measurement, case: _Case) -> Measurement | _Flaw:
    if not _finite(found):
        return _Flaw(Outcome.ERROR, f"{_what(gate)} is not a finite number")
    if found.window is not None and found.window.end > case.as_of:
        return _Flaw(
            Outcome.ERROR, f"{_what(gate)} was measured until {found.window.end}, after {case.as_of}", (found,)
        )
    if found.value is None:
        return _Flaw(Outcome.INCONCLUSIVE, f"no evidence: {found.why}", (found,))
    known = gate.measured
    if not known.low <= found.value <= known.high:
        return _Flaw(Outcome.ERROR, f"{_what(gate)} = {found.value:g} is impossible", (found,))
    if (found.low is not None and found.low > found.value) or (found.high is not None and found.high < found.value):
        return _Flaw(Outcome.ERROR, f"{_what(gate)} = {found.value:g} lies outside its own interval", (found,))
    if known.compares and found.variant != case.champion:
        compared = short(found.variant) if found.variant else "an unnamed version"
        return _Flaw(Outcome.ERROR, f"{_what(gate)} compares with {compared}, not with the champion", (found,))
    if found.n < gate.min_n:
        return _Flaw(
            Outcome.INCONCLUSIVE, f"{_what(gate)} rests on {found.n} rows, {gate.min_n} are asked for", (found,)
        )
    return found


def _condition(gate: Gate, case: _Case) -> tuple[Condition | _Flaw, str]:
    """What must hold, and where the bound comes from."""
    if gate.condition is not None:
        return gate.condition, ""
    if gate.regression is None or case.champion is None:  # the policy's validation excludes it
        return _Flaw(Outcome.ERROR, "the gate has nothing to compare with"), ""
    found = _find(gate, case, case.champion)
    if isinstance(found, _Flaw) or found.value is None:
        return found if isinstance(found, _Flaw) else _Flaw(Outcome.INCONCLUSIVE, found.why), ""
    limit = gate.regression.limit(found.value)
    return limit, f" (champion {found.value:.6g}, tolerance {gate.regression.tolerance:.0%})"


def _number(found: Measurement, gate: Gate) -> float | None:
    match gate.uses:
        case "low":
            return found.low
        case "high":
            return found.high
        case "absolute":
            return None if found.value is None else abs(found.value)
        case "value":
            return found.value


def _finite(measurement: Measurement) -> bool:
    numbers = (measurement.value, measurement.low, measurement.high)
    return all(isfinite(x) for x in numbers if x is not None)


def _what(gate: Gate) -> str:
    return f"{gate.measurement} of {gate.slice}" if gate.slice else gate.measurement


def _verdict(
    name: str,
    gate: Gate,
    outcome: Outcome,
    reason: str,
    *measured: Measurement,
    condition: Condition | None = None,
    severity: Severity | None = None,
) -> Verdict:
    kept = tuple(m for m in measured if _finite(m))  # a record must be readable again
    to_do = gate.to_do if outcome is Outcome.FAILED else gate.without_evidence
    stands = outcome is not Outcome.SUCCESSFUL and not reason.startswith(NOT_APPLICABLE)
    return Verdict(
        check=name,
        outcome=outcome,
        severity=severity or gate.severity,
        reason=f"{reason}. {to_do}" if stands else reason,
        condition=condition or gate.condition,
        measurements=kept,
        dry_run=gate.dry_run,
        category=gate.category,
    )
