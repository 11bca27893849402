"""The sections of the release report, from facts to words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from modelyard.core.digest import short
from modelyard.core.records import Approval
from modelyard.core.verdict import Measurement, Outcome, Severity, Verdict
from modelyard.release.report import Cell, Mark, Section, Tone
from modelyard.release.simple import Simple, simple_models

if TYPE_CHECKING:
    from modelyard.flows.release_report import Facts

_OUTCOMES: dict[Outcome, Tone] = {
    Outcome.SUCCESSFUL: "good", Outcome.FAILED: "bad", Outcome.ERROR: "bad", Outcome.INCONCLUSIVE: "unsure",
}  # fmt: skip
_STATES: dict[str, Tone] = {"ready": "good", "quarantined": "bad"}
_HIDDEN = ("origin", "metrics")
"""Areas of differences that every training changes and that say nothing of behaviour."""


def all_of(facts: Facts) -> tuple[Section, ...]:
    """The report, in the order in which people need it."""
    made = (_about, _risks, _changes, _gates, _evidence, _approvals, _rollout, _rollback)
    return tuple(section(facts) for section in made)


def _about(facts: Facts) -> Section:
    release, snapshot = facts.release, facts.snapshot
    data = "not on record" if snapshot is None else f"{snapshot.rows} rows, {snapshot.window}"
    state: Cell = Mark("champion: it answers everybody", "good") if facts.is_champion else _state(facts.state)
    return Section(
        "What this is about",
        facts=(
            ("state", state),
            ("why it was made", release.reason),
            ("made by", f"{release.author}, {_at(release.created_at)}"),
            ("trained on", data),
            ("knows what was known by", _at(release.as_of)),
            ("changed by hand", ", ".join(sorted(release.overrides)) or "nothing"),
            *(("beside a simple model", Mark(s.words, "unsure" if s.as_good else "good")) for s in _simple(facts)),
            ("MLflow run", release.mlflow_run_id),
            ("code commit", release.code_commit),
            ("data (DVC)", release.dvc_md5),
        ),
    )


def _simple(facts: Facts) -> tuple[Simple, ...]:
    return tuple(simple_models(facts.release.metrics))


def _state(state: str) -> Cell:
    return Mark(state, _STATES[state]) if state in _STATES else state


def _risks(facts: Facts) -> Section:
    found = tuple(residual_risks(facts))
    if not found:
        return Section("Residual risks", ("The records show none: every check succeeded, and every link is there.",))
    return Section("Residual risks", ("What the records leave open. Whoever approves accepts these.",), points=found)


def residual_risks(facts: Facts) -> Iterator[Mark]:
    """What did not succeed, is missing, or rests on nothing; the gravest first."""
    yield from (Mark(f"Integrity: {fault}", "bad") for fault in facts.faults)
    if facts.gates is None:
        yield Mark("The gates have not decided about this release.", "bad")
    for verdict in sorted(facts.gates.verdicts if facts.gates else (), key=_urgency):
        if verdict.outcome is not Outcome.SUCCESSFUL:
            tone: Tone = "bad" if verdict.blocks else "unsure"
            yield Mark(f"{_kind(verdict)} {verdict.check}: {verdict.outcome.value}. {verdict.reason}", tone)
        elif verdict.dry_run:
            yield Mark(f"{verdict.check} is only tried out: it succeeded, and would not have blocked.", "unsure")
    yield from (Mark(text, "unsure") for text in _circumstances(facts))
    yield from (Mark(f"Open incident: {i.title}. {i.next_step}", "unsure") for i in facts.incidents)


def _circumstances(facts: Facts) -> Iterator[str]:
    release = facts.release
    if release.overrides:
        yield f"Changed by hand: {', '.join(sorted(release.overrides))}."
    for simple in _simple(facts):
        if simple.as_good:
            yield f"A simpler model may do: {simple.words}."
    if release.code_commit == "unknown" or release.code_commit.endswith("-dirty"):
        yield f"The code is not named by a commit ({release.code_commit}); its digest is in the manifest."
    if facts.rival is None:
        yield "There was no champion to compare it with."
    if facts.way_back is None:
        yield "There is no earlier champion to go back to."
    elif facts.drill is None:
        yield f"The way back was never rehearsed: modelyard rollout drill {release.model} does it."
    if not _concluded(facts):
        yield "Governance has not concluded: nobody has approved it by the rules."


def _changes(facts: Facts) -> Section:
    if facts.rival is None:
        return Section("What changed", ("It is a first release: there was no champion to compare with.",))
    against = f"Against version {facts.rival.version} ({facts.rival.semver}), champion when it was judged."
    if facts.changes is None:
        return Section("What changed", (against, "The two could not be compared; see the residual risks."))
    shown = [c for c in facts.changes if c.area not in _HIDDEN]
    left = len(facts.changes) - len(shown)
    note = f"{left} more differences tell only that it is another training; modelyard release diff shows them."
    notes = (against, *(["Nothing that changes behaviour."] if not shown else []), *([note] if left else []))
    return Section("What changed", notes, columns=("area", "what"), rows=tuple((c.area, c.words) for c in shown))


def _gates(facts: Facts) -> Section:
    gates = facts.gates
    if gates is None:
        return Section("Gates", ("No decision of the gates is on record.",))
    passed = sum(v.outcome is Outcome.SUCCESSFUL for v in gates.verdicts)
    said = f"{gates.action.capitalize()}: {passed} of {len(gates.verdicts)} checks succeeded."
    cited = f"Decision {short(gates.digest)}, as of {_at(gates.as_of)}, by policy {short(gates.policy)}."
    rows = tuple(
        (v.check, v.category or "-", _kind(v), Mark(v.outcome.value, _OUTCOMES[v.outcome]),
         str(v.condition) if v.condition else "-", v.reason)
        for v in sorted(gates.verdicts, key=_urgency)
    )  # fmt: skip
    columns = ("gate", "category", "severity", "outcome", "must be", "reason")
    return Section("Gates", (said, cited, *gates.reasons), columns=columns, rows=rows)


def _evidence(facts: Facts) -> Section:
    found = [m for v in (facts.gates.verdicts if facts.gates else ()) for m in v.measurements]
    distinct = list({m.digest: m for m in found}.values())
    if not distinct:
        return Section("Evidence", ("The gates saw no measurement.",))
    rows = tuple(
        (m.name, m.slice or "all", _whose(m, facts), _value(m), _interval(m), str(m.n) if m.n else "-")
        for m in sorted(distinct, key=lambda m: (m.name, m.slice, m.subject != facts.release.digest))
    )
    cited = facts.gates.evidence if facts.gates else ()
    note = f"What the gates decided on: {', '.join(short(digest) for digest in cited) or 'no document is cited'}."
    return Section("Evidence", (note,), columns=("measurement", "of", "whose", "value", "interval", "rows"), rows=rows)


def _whose(measurement: Measurement, facts: Facts) -> str:
    rival = facts.rival.digest if facts.rival else None
    if measurement.variant and measurement.variant == rival:
        return "this release minus champion" if measurement.name.endswith("_difference") else "against the champion"
    return {facts.release.digest: "this release", rival: "champion"}.get(measurement.subject, "-")


def _value(measurement: Measurement) -> Cell:
    if measurement.value is None:
        return Mark(f"unknown: {measurement.why}", "unsure")
    return f"{measurement.value:.6g} {measurement.unit}".strip()


def _interval(measurement: Measurement) -> str:
    if measurement.low is None and measurement.high is None:
        return "-"
    low, high = ("open" if end is None else f"{end:.6g}" for end in (measurement.low, measurement.high))
    return f"{low} to {high} ({measurement.confidence:.0%})"


def _approvals(facts: Facts) -> Section:
    notes = [f"{d.action.replace('_', ' ')}: {'; '.join(d.reasons)}" for d in facts.governance]
    rows = tuple(_answer(a, facts) for a in facts.approvals)
    columns = ("who", "answer", "when", "where", "comment", "given for")
    return Section("Risk and approvals", tuple(notes) or ("Not assessed yet.",), columns=columns, rows=rows)


def _answer(given: Approval, facts: Facts) -> tuple[Cell, ...]:
    holds = facts.gates is not None and given.decision == facts.gates.digest
    bound: Cell = "the gate decision above" if holds else Mark("an earlier gate decision: void", "unsure")
    tone: Tone = "good" if given.answer == "approve" else "bad"
    who = f"{given.by} (by policy, no person)" if given.automatic else given.by
    return who, Mark(given.answer, tone), _at(given.at), given.where or "-", given.comment or "-", bound


def _rollout(facts: Facts) -> Section:
    if facts.plan is None:
        return Section("Rollout", ("No rollout is on record, and the policy of rollouts cannot be read.",))
    state = facts.rollout
    stages = state.stages if state else facts.plan.stages
    done = state.summary if state else "Not begun; the plan is the policy as it stands today."
    plan = " -> ".join(_stage(s.weight, s.min_seconds, s.min_rows) for s in stages)
    strategy = state.strategy if state else facts.plan.strategy
    notes = [f"Plan ({strategy.replace('_', ' ')}): {plan}.", done]
    # What changed, and where it stands: hundreds of looks that all said "hold" say it once.
    looks = [
        n for i, n in enumerate(facts.looks) if i in (0, len(facts.looks) - 1) or n.action != facts.looks[i - 1].action
    ]
    if len(looks) < len(facts.looks):
        notes.append(f"{len(facts.looks)} looks; shown are the first, the last, and those that came to something new.")
    rows = tuple((str(n.stage + 1), str(n.look), _at(n.as_of), n.action, "; ".join(n.reasons)) for n in looks)
    return Section("Rollout", tuple(notes), columns=("stage", "look", "as of", "came to", "why"), rows=rows)


def _stage(weight: float, seconds: float, rows: int) -> str:
    share = f"{weight:g}% of requests" if weight else "in shadow"
    return f"{share} for {seconds / 3600:g} h and {rows} rows at least"


def _rollback(facts: Facts) -> Section:
    model, back = facts.release.model, facts.way_back
    to = (
        "nothing: there is no earlier champion"
        if back is None
        else f"version {back.version} ({back.semver}), {short(back.digest)}"
    )
    rows: list[tuple[str, Cell]] = [("back to", to)]
    if facts.plan is not None:
        watched = f"errors, invalid answers, latency above {facts.plan.guardrails.latency_slo_ms:g} ms, disagreement"
        harm = f"clear harm in the loss ({facts.plan.quality.metric})"
        rows.append(("by itself", f"guardrails in each replica ({watched}, processor time, memory); {harm}"))
        rows.append(("kept warm", f"for {facts.plan.keep_warm_hours:g} hours after the promotion"))
    rows += [
        ("by hand, under way", f"modelyard rollout abort {model}"),
        ("by hand, once champion", f"modelyard rollout revert {model}"),
        ("last rehearsed", "never" if facts.drill is None else f"{_at(facts.drill.at)}: {facts.drill.reason}"),
    ]
    return Section("Way back", facts=tuple(rows))


def _concluded(facts: Facts) -> bool:
    """Whether the newest conclusion is an approval of what the gates decided last."""
    conclusions = [d for d in facts.governance if d.action in ("approve", "reject", "wait")]
    if not conclusions or facts.gates is None:
        return False
    return conclusions[-1].action == "approve" and facts.gates.digest in conclusions[-1].evidence


def _kind(verdict: Verdict) -> str:
    return f"{verdict.severity.value}{' (dry run)' if verdict.dry_run else ''}"


def _urgency(verdict: Verdict) -> tuple[bool, bool, int]:
    """What did not succeed first, what counts before what only tries out, the gravest before the rest."""
    return verdict.outcome is Outcome.SUCCESSFUL, verdict.dry_run, -Severity(verdict.severity).rank


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
