"""What each loop's run was about, read from the platform's ledger."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from modelyard.core.errors import NotFound
from modelyard.core.records import Approval, Release
from modelyard.core.verdict import Decision
from modelyard.core.window import parse_moment
from modelyard.rollout.state import RolloutState
from modelyard_airflow import run_parts as parts
from modelyard_airflow.page import At, Cell, Mark, Section, Tone
from modelyard_airflow.run_parts import Asked, moment

LOOKS_SHOWN = 30
_GOVERNANCE: dict[str, Tone] = {"risk_low": "good", "approve": "good", "reject": "bad"}
_ROLLOUT: dict[str, Tone] = {"promoted": "good", "concluded": "good", "rolled_back": "bad", "rolling_back": "bad"}


def retrain(asked: Asked) -> list[Section]:
    """Why the run retrained, and what became of it."""
    release = parts.newest_release(asked, lambda made: made.parts.get("run") == asked.run.run_id)
    if release is None:
        note = f"No release on the ledger names this run, which is {asked.run.state} now."
        return [_why_not_yet(asked, note), *_incidents(asked)]
    return [
        _why(release),
        parts.release_section(asked, release),
        *_evidence(asked, release.parts.get("evidence", "")),
        *_snapshot(asked, release),
        _gates(asked, release),
        *_governance(asked, release),
        _rollouts(asked, release),
    ]


def monitor(asked: Asked) -> list[Section]:
    """The check that this run made."""
    from modelyard.flows.monitor import report_path

    try:
        at = _as_of(asked)
    except ValueError:
        return [Section("Check", notes=(f"as_of = {asked.run.conf['as_of']!r} is no moment, so nothing was checked.",))]
    row = next(iter(asked.platform.ledger.journal.checks(asked.model, since=at, until=at)), None)
    if row is None or row["run_key"] != asked.run.run_id:
        why = f"The check as of {moment(at)} on the ledger is that of run {row['run_key']}." if row else ""
        notes = (f"No check on the ledger names this run, which is {asked.run.state} now.", *([why] if why else []))
        return [Section("Check", notes=notes), *_incidents(asked)]
    decision = asked.platform.ledger.journal.decision(row["decision"])
    path = report_path(asked.platform.settings.home, asked.model, decision.as_of)
    otherwise = "not drawn; a report is drawn when a retraining is asked for"
    answer = parts.newest_release(asked, lambda made: made.parts.get("evidence") == decision.digest)
    facts: list[tuple[str, Cell]] = [
        ("drift report", parts.report(asked, path, "Evidently's report", otherwise)),
        ("requests", str(row.get("requests", "-"))),
        ("champion", _release_name(asked, row.get("champion"))),
    ]
    if answer is not None:
        run = parts.other_run(asked, f"{asked.model}__retrain", answer.parts.get("run", ""))
        facts += [("retrained as", parts.name_of(answer)), ("by run", run)]
    check = parts.decision_section("Check", decision, good=("nothing",), bad=("page",))
    return [check, Section("What belongs to it", facts=tuple(facts))]


def rollout(asked: Asked) -> list[Section]:
    """The rollouts of the release that this run was started for."""
    release, note = _offered(asked)
    if release is None:
        return [Section("Rollout", notes=(note,)), _all_rollouts(asked)]
    states = [s for s in _states(asked) if s.release == release.digest]
    if not states:
        nothing = f"No rollout of {parts.name_of(release)} has been opened; this run is {asked.run.state} now."
        return [Section("Rollout", notes=(nothing,)), parts.release_section(asked, release), _all_rollouts(asked)]
    shown = [section for state in reversed(states) for section in _rollout(asked, state)]
    return [shown[0], parts.release_section(asked, release), *shown[1:]]


def features(asked: Asked) -> list[Section]:
    """The views as they stand: the last run that built them is not on the ledger."""
    path = asked.platform.settings.home / "features" / asked.model / "built.json"
    if not path.is_file():
        return [Section("Feature views", notes=("No views of this model have been built here.",))]
    built = json.loads(path.read_text())
    note = "As they stand now; no record is kept per run."
    facts = (
        ("known up to", At(parse_moment(built["moment"]))),
        ("code", built["code"]),
        ("landed rows left out", _left_out(built.get("left_out"))),
    )
    rows = tuple((view, f"{count:,}") for view, count in built["rows"].items())
    return [Section("Feature views", (note,), facts, ("view", "rows"), rows)]


def _left_out(told: dict[str, Any] | None) -> str:
    """Rows that break the contract by themselves, by rule; views built before these were left out do not say."""
    if told is None:
        return "not recorded"
    by_rule = ", ".join(f"{rule}: {count:,}" for rule, count in told["by_rule"].items())
    return f"{told['rows']:,} ({by_rule})" if by_rule else f"{told['rows']:,}"


def _why(release: Release) -> Section:
    trigger = release.parts.get("trigger", "not recorded")
    facts = (("trigger", trigger), ("reason", release.reason), ("as of", At(release.as_of)))
    return Section("Why", facts=(*facts, ("asked for by", release.author)))


def _why_not_yet(asked: Asked, note: str) -> Section:
    given = ((key, str(value)) for key, value in sorted(asked.run.conf.items()) if value)
    return Section("Why", (note,), (("started as", asked.run.kind), ("by", asked.run.person or "-"), *given))


def _evidence(asked: Asked, digest: str) -> list[Section]:
    if not digest:
        return []
    from modelyard.flows.monitor import report_path

    decision = asked.platform.ledger.journal.decision(digest)
    path = report_path(asked.platform.settings.home, asked.model, decision.as_of)
    otherwise = "not drawn yet; the run of the check draws it beside the retraining"
    link = parts.report(asked, path, "Evidently's report", otherwise)
    return [
        parts.decision_section("The governor's decision", decision, good=("retrain",), bad=("page",)),
        Section("What it saw", facts=(("as of", At(decision.as_of)), ("drift report", link))),
    ]


def _snapshot(asked: Asked, release: Release) -> list[Section]:
    ledger = asked.platform.ledger
    snapshot = ledger.snapshots.get(release.snapshot)
    decisions = ledger.journal.decisions(asked.model, "validation", snapshot.content)
    document = asked.platform.validator.document(asked.model, snapshot.content)
    facts: tuple[tuple[str, Cell], ...] = (
        ("rows", f"{snapshot.rows:,}"),
        ("window", str(snapshot.window)),
        ("known by", At(snapshot.as_of)),
        ("digest", snapshot.content),
        ("validation", parts.report(asked, document, "Great Expectations' document", "no document is kept here")),
    )
    sections = [Section("Snapshot", facts=facts)]
    if decisions:
        sections.append(parts.decision_section("Validation", decisions[-1], good=("admit",), bad=("quarantine",)))
    return sections


def _gates(asked: Asked, release: Release) -> Section:
    decision = _newest_gates(asked, release)
    if decision is None:
        return Section("Gates", notes=(f"The gates have not decided yet; the run is {asked.run.state} now.",))
    return parts.decision_section("Gates", decision, good=("ready",), bad=("blocked",))


def _governance(asked: Asked, release: Release) -> list[Section]:
    journal = asked.platform.ledger.journal
    gates = _newest_gates(asked, release)
    decisions = journal.decisions(asked.model, "governance", release.digest)
    rows = tuple(
        (
            Mark(decision.action.replace("_", " "), _GOVERNANCE.get(decision.action, "unsure")),
            "; ".join(decision.reasons),
            _void(gates is not None and gates.digest in decision.evidence),
        )
        for decision in decisions
    )
    notes = () if decisions else ("Governance has not looked at this release.",)
    sections = [Section("Governance", notes, columns=("decision", "because", "gates"), rows=rows)]
    if answers := journal.approvals(release.digest):
        shown = tuple(_answer(answer, gates) for answer in answers)
        sections.append(Section("Answers", columns=("answer", "by", "at", "comment", "gates"), rows=shown))
    return sections


def _answer(answer: Approval, gates: Decision | None) -> tuple[Cell, ...]:
    by = f"{answer.by} (automatic)" if answer.automatic else answer.by
    said = Mark(answer.answer, "good" if answer.answer == "approve" else "bad")
    return (said, by, At(answer.at), answer.comment, _void(gates is not None and answer.decision == gates.digest))


def _void(current: bool) -> Cell:
    return "the present decision" if current else Mark("an earlier decision: void", "unsure")


def _rollouts(asked: Asked, release: Release) -> Section:
    states = [s for s in _states(asked) if s.release == release.digest]
    if not states:
        return Section("Rollout", notes=("No rollout of this release has been opened.",))
    run_id = f"release-{release.digest.removeprefix('sha256:')[:12]}"
    rows = tuple((s.id, _status(s), s.reason) for s in states)
    run = parts.other_run(asked, f"{asked.model}__rollout", run_id)
    return Section("Rollout", (), (("run", run),), ("rollout", "status", "why"), rows)


def _offered(asked: Asked) -> tuple[Release | None, str]:
    """The release that the run names in its conf, or else in its own name; or why there is none."""
    named = str(asked.run.conf.get("release") or "")
    prefix = named or f"sha256:{asked.run.run_id.removeprefix('release-')}"
    if not named and not asked.run.run_id.startswith("release-"):
        return None, "This run names no release, so it rolled nothing out."
    fits = (lambda made: made.digest == named) if named else (lambda made: made.digest.startswith(prefix))
    release = parts.newest_release(asked, fits)
    return release, "" if release else f"This run names release {prefix}, which {asked.model} does not have."


def _states(asked: Asked) -> list[RolloutState]:
    return [RolloutState.model_validate(body) for body in asked.platform.ledger.rollouts.history(asked.model)]


def _status(state: RolloutState) -> Cell:
    text = state.status.replace("_", " ") + (", paused" if state.paused else "")
    return Mark(text, _ROLLOUT.get(state.status, "unsure"))


def _rollout(asked: Asked, state: RolloutState) -> list[Section]:
    looks = asked.platform.ledger.rollouts.looks(state.id)
    against = "nobody: the first release" if state.champion is None else f"version {state.champion.version}"
    facts: tuple[tuple[str, Cell], ...] = (
        ("status", _status(state)),
        ("strategy", state.strategy.replace("_", "-")),
        ("why", state.reason or "-"),
        ("compared with", against),
        ("stage", _stages(state)),
        ("opened", At(state.opened_at)),
        ("decided", f"{moment(state.decided_at)} by {state.decided_by}" if state.decided_at else "not yet"),
        ("next look", At(state.next_look_at)),
        ("by hand", _hint(state)),
    )
    events = tuple(
        (At(e.at), e.kind.replace("_", " "), str(e.stage), e.detail) for e in state.events if e.kind != "entering"
    )
    shown = tuple(
        (str(k.stage), str(k.look), At(k.as_of), k.action, "; ".join(k.reasons)) for k in looks[-LOOKS_SHOWN:]
    )
    notes = (f"The last {LOOKS_SHOWN} of {len(looks)}.",) if len(looks) > LOOKS_SHOWN else ()
    sections = [
        Section(f"Rollout {state.id}", facts=facts),
        Section("What happened", columns=("at", "event", "stage", "detail"), rows=events),
        Section("Looks", notes, columns=("stage", "look", "at", "action", "because"), rows=shown),
    ]
    if looks:
        title, rows = f"Look {looks[-1].look} of stage {looks[-1].stage}", parts.verdict_rows(looks[-1].verdicts)
        numbers = tuple(parts.measured(m) for m in looks[-1].measurements)
        sections.append(Section(f"{title}: verdicts", columns=parts.VERDICTS, rows=rows))
        sections.append(Section(f"{title}: measurements", columns=("what", "value [bounds]", "n"), rows=numbers))
    return sections


def _stages(state: RolloutState) -> str:
    shares = ["shadow" if stage.shadow else f"{stage.weight:g}%" for stage in state.stages]
    weights = ", ".join(shares)
    place = f"{state.stage} at {shares[state.stage]}" if state.stage >= 0 else "none entered"
    return f"{place}, of {weights}"


def _hint(state: RolloutState) -> str:
    if state.closed:
        return f"modelyard rollout history {state.model}"
    return "; ".join(f"modelyard rollout {verb} {state.model}" for verb in ("status", "pause", "abort", "promote"))


def _all_rollouts(asked: Asked) -> Section:
    rows = tuple((s.id, _status(s), s.reason) for s in reversed(_states(asked)))
    notes = () if rows else ("None has been opened.",)
    return Section(f"Rollouts of {asked.model}", notes, columns=("rollout", "status", "why"), rows=rows)


def _incidents(asked: Asked) -> list[Section]:
    """What is open, for a run that stopped early: its cause is most often among them."""
    found = asked.platform.ledger.journal.incidents(asked.model, open_only=True)
    rows = tuple((i.title, i.detail, At(i.opened_at), i.next_step) for _, _, i in reversed(found))
    columns = ("incident", "detail", "opened", "next step")
    return [Section(f"Open incidents of {asked.model}", columns=columns, rows=rows)] if rows else []


def _newest_gates(asked: Asked, release: Release) -> Decision | None:
    decisions = asked.platform.ledger.journal.decisions(asked.model, "gates", release.digest)
    return decisions[-1] if decisions else None


def _release_name(asked: Asked, digest: Any) -> str:
    try:
        return parts.name_of(asked.platform.ledger.releases.get(digest)) if digest else "none"
    except NotFound:
        return str(digest)


def _as_of(asked: Asked) -> datetime:
    """The event time that the run works with; the same rule as in ``tasks.as_of``. ``ValueError`` if given wrongly."""
    given = str(asked.run.conf.get("as_of") or "")
    return parse_moment(given) if given else asked.platform.as_of(asked.model, asked.run.wall)
