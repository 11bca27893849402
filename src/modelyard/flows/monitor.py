"""The drift check: measure what was served, let the governor decide, and keep one row of history.

A check is a function of its moment: it looks only at requests before ``as_of`` and outcomes known by then. Asking again
for the same moment and run gives the decision that was recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.config.policies import load_policy
from modelyard.core.errors import Conflict, EvidenceMissing, NotFound
from modelyard.core.profile import Profile
from modelyard.core.records import AuditEvent, Incident, Release
from modelyard.core.verdict import Decision, Measurement, Outcome, Severity, Verdict
from modelyard.core.window import Window
from modelyard.drift import governor
from modelyard.drift.concept import QUALITY
from modelyard.drift.counts import count
from modelyard.drift.gain import GAIN_MEASURED
from modelyard.drift.governor import History, Past, Signals
from modelyard.drift.importance import weights
from modelyard.drift.policy import DriftPolicy
from modelyard.drift.quality import measure_quality
from modelyard.drift.score import score
from modelyard.drift.thresholds import Thresholds
from modelyard.drift.upstream import VOLUME
from modelyard.drift.usage import BASELINE, CPU, ERRORS, MEMORY, USAGE, advised, judge_usage
from modelyard.flows import parity
from modelyard.flows.baseline import observe
from modelyard.flows.beside import tried
from modelyard.flows.gain import measure_gains
from modelyard.flows.hourly import window_profile
from modelyard.ports.ledger import Json
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle
from modelyard.release.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

ACTOR = "governor"
_INCIDENTS = (governor.TRAFFIC, governor.LABELS, governor.INPUTS)
_NEXT_STEP = {
    governor.TRAFFIC: "See whether requests reach the gateway (`modelyard status`) and whether its log is written.",
    governor.LABELS: "See whether outcomes are sent to the gateway's feedback route.",
    governor.INPUTS: "See the feature's source and its materialisation; nothing is retrained until it is mended.",
    "budget": "Look at `modelyard drift explain`: retraining again and again does not cure this model.",
}


def check(
    platform: Platform,
    model: str,
    as_of: datetime,
    *,
    run_key: str = "",
    retraining_open: bool = False,
    now: datetime | None = None,
) -> Decision:
    """Check the model as of this moment and record what the governor decides.

    ``run_key`` names the run that asks; ``retraining_open`` says that a retraining of the model is under way. The
    check's row is written last: an interrupted check is simply done again. ``now`` is when it is done (audit log,
    incidents); by default, now.

    Raises:
        IntegrityError: the champion's bundle does not match its manifest.
        EvidenceMissing: the champion was trained later than this moment.
    """
    journal = platform.ledger.journal
    policy = load_policy(DriftPolicy, "drift", platform.settings, model)
    earlier = journal.checks(model, since=as_of - timedelta(days=policy.restraint.budget_days), brief=True)
    if (done := _same_run(earlier, as_of, run_key)) is not None:
        return journal.decision(done)
    # Before the champion is read: a rollout that ends meanwhile must not leave the old champion without one.
    rollout = platform.ledger.rollouts.current(model) or ""
    signals = measure(platform, model, as_of, policy)
    signals = _with_gains(platform, signals, policy, earlier)
    past = _past(platform, model, earlier, as_of)
    history = History(past=past, retraining_open=retraining_open, rollout_open=rollout)
    decision = governor.decide(signals, history, policy, as_of)
    if signals.operations:
        decision = advised(decision, judge_usage(signals.operations, policy.operations))
    compared = parity.evidence(platform, model, as_of)
    decision = decision.model_copy(update={"verdicts": (*decision.verdicts, *compared)})
    journal.decide(decision)
    now = now or datetime.now(UTC)
    _incidents(platform, decision, now)
    _audit(platform, decision, earlier, run_key, now)
    if not _asked_already(earlier, as_of):
        journal.check(model, as_of, _row(signals, decision, run_key, tried(signals, history, policy, earlier)))
    return decision


def measure(platform: Platform, model: str, as_of: datetime, policy: DriftPolicy) -> Signals:
    """Measure everything that the governor looks at; changes nothing, but keeps what it counted of each hour.

    Only answers of the champion's version count: the quality of another version says nothing about this one.
    """
    champion = platform.ledger.releases.champion(model)
    if champion is None:
        return Signals(model=model, champion=None, as_of=as_of)
    if champion.as_of > as_of:
        known = f"version {champion.version} was trained as of {champion.as_of}, after {as_of}"
        raise EvidenceMissing(f"{known}: a moment that no check recorded can no longer be judged")
    reference, signature, thresholds = _reference(platform, champion)
    windows = policy.windows.before(as_of)
    recent = Window.last(timedelta(hours=policy.windows.length_hours), as_of)
    whole = Window(start=windows[-1].start, end=as_of)
    log = platform.predictions.joined(model, whole, as_of)
    own = log[log["version"] == champion.version]
    current = window_profile(platform.settings.home / "profiles" / model, reference, own, recent).profile
    quality = [
        m
        for window in windows
        for m in measure_quality(
            _within(own, window),
            window=window,
            threshold=signature.threshold,
            min_labels=policy.calibration.min_labels,
            subject=champion.digest,
        )
    ]
    observed = observe(platform, champion, signature, log, policy, as_of)
    unusual = thresholds.measurements(_looked_at(reference, observed["importance"], policy)) if thresholds else ()
    return Signals(
        model=model,
        champion=champion.digest,
        as_of=as_of,
        trained_until=champion.as_of,
        newest=_newest_request(platform, model, log, as_of),
        newest_label=_moment(own.loc[own["label"].notna(), "label_at"]),
        requests=current.n,
        quality=tuple(quality),
        inputs=(*score(reference, current, window=recent, subject=champion.digest), *unusual),
        reference=reference.digest,
        **observed,
    )


def explain(decision: Decision) -> str:
    """The decision for people: the action, its reasons, and what each check came to."""
    lines = [f"{decision.model} as of {decision.as_of:%Y-%m-%d %H:%M} UTC: {decision.action}"]
    lines += [f"  because {reason}" for reason in decision.reasons]
    lines += [f"  {v.check:<12} {v.outcome.value:<13} {v.reason}" for v in decision.verdicts]
    return "\n".join([*lines, f"  policy {decision.policy}", f"  decision {decision.digest}"])


def report_path(home: Path, model: str, as_of: datetime) -> Path:
    """Where the drift report of a check is kept."""
    return home / "docs" / "drift" / model / f"{as_of:%Y-%m-%dT%H%MZ}.html"


def report(platform: Platform, model: str, as_of: datetime, reference: pd.DataFrame) -> Path:
    """Draw the drift report of a check from seeded samples: the champion's training rows against what it was asked.

    Costs the import of Evidently: draw it beside the retraining that it explains, not before. A report that exists
    is kept.

    Raises:
        NotFound: the model has no champion.
    """
    path = report_path(platform.settings.home, model, as_of)
    if path.exists():
        return path
    policy = load_policy(DriftPolicy, "drift", platform.settings, model)
    champion = platform.ledger.releases.champion(model)
    if champion is None:
        raise NotFound("champion", model, hint="there is nothing to compare with yet.")
    profile, signature, _ = _reference(platform, champion)
    window = Window.last(timedelta(hours=policy.windows.length_hours), as_of)
    log = platform.predictions.joined(model, window, as_of)
    current = log[log["version"] == champion.version]
    scores = score(profile, count(profile, current))
    return platform.reports.drift(
        path,
        reference=_sample(reference, policy.report_rows),
        current=_sample(current, policy.report_rows),
        numeric=[i.name for i in signature.numeric],
        categorical=[i.name for i in signature.categorical],
        psi={m.slice.removeprefix("feature="): m.value for m in scores if m.name == "psi" and m.value is not None},
        title=f"{model} v{champion.version}, {window}",
    )


def _looked_at(reference: Profile, importance: tuple[Measurement, ...], policy: DriftPolicy) -> list[str]:
    """The features whose drift asks for a look: for these together the rate of false alarms is kept."""
    weight, rule = weights(importance), policy.inputs
    light = {f.removeprefix("feature=") for f, w in weight.items() if w < rule.least_importance}
    return [name for name in reference.names if name not in light and name not in rule.ignore]


def _reference(platform: Platform, champion: Release) -> tuple[Profile, Signature, Thresholds | None]:
    """The champion's profile, its signature, and the thresholds of its features, which an early version may lack."""
    files = read_bundle(platform.ledger.releases.bundle(champion.digest), champion.digest).files
    profile = Profile.from_json(files["profile.json"])
    learnt = Thresholds.from_json(files["thresholds.json"]) if "thresholds.json" in files else None
    if learnt is not None and learnt.bins != profile.bins_digest:
        raise Conflict(f"the thresholds of version {champion.version} are of other bins than its profile")
    return profile, Signature.from_json(files["signature.json"]), learnt


def _within(rows: pd.DataFrame, window: Window) -> pd.DataFrame:
    return rows[(rows["event_time"] >= window.start) & (rows["event_time"] < window.end)]


def _sample(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    return rows.sample(n=most, random_state=0) if len(rows) > most else rows


def _newest_request(platform: Platform, model: str, log: pd.DataFrame, as_of: datetime) -> datetime | None:
    """Of any version. Looking back at a moment, later requests are not known; then only the window can tell."""
    newest = platform.predictions.newest(model)
    return newest if newest is None or newest < as_of else _moment(log["event_time"])


def _moment(column: pd.Series[Any]) -> datetime | None:
    newest = column.max() if len(column) else None
    return newest.to_pydatetime() if newest is not None and newest == newest else None


def _same_run(earlier: list[Json], as_of: datetime, run_key: str) -> str | None:
    """The decision that this run recorded for this moment."""
    moment = as_of.isoformat()
    return next((row["decision"] for row in earlier if (row["as_of"], row["run_key"]) == (moment, run_key)), None)


def _asked_already(earlier: list[Json], as_of: datetime) -> bool:
    """Whether another run asked for a retraining at this very moment: its row must stay, or it would be forgotten."""
    return any(row["as_of"] == as_of.isoformat() and row["action"] == "retrain" for row in earlier)


def _past(platform: Platform, model: str, earlier: list[Json], as_of: datetime) -> tuple[Past, ...]:
    """What was decided up to now; a retraining asked for at this very moment by another run counts too.

    A retraining that was asked for a champion that has gone since, and that no release came of, was skipped: it is
    ``superseded`` and counts neither for the cool-down nor for the budget.
    """
    champion = platform.ledger.releases.champion(model)
    made = {release.parts.get("evidence") for release, _ in platform.ledger.releases.history(model)}

    def action(row: Json) -> str:
        gone = champion is not None and row["champion"] != champion.digest
        return "superseded" if row["action"] == "retrain" and gone and row["decision"] not in made else row["action"]

    rows = (Past(at=row["as_of"], action=action(row), champion=row["champion"] or "") for row in earlier)
    return tuple(p for p in rows if p.at <= as_of)


def _with_gains(platform: Platform, signals: Signals, policy: DriftPolicy, earlier: list[Json]) -> Signals:
    """The signals with what a retraining would have gained, if a policy asks; the newest check knows earlier steps."""
    champion, rule = platform.ledger.releases.champion(signals.model), policy.gain_wanted
    if rule is None or champion is None or champion.digest != signals.champion:
        return signals
    before = [row for row in earlier if row["as_of"] < signals.as_of.isoformat()]
    kept = before[-1].get("gains", []) if before else []
    known = [Measurement.model_validate(m) for m in kept]
    gains = measure_gains(platform, champion, rule, known, signals.as_of, policy.windows.settle_hours)
    return Signals.model_validate({**dict(signals), "gains": gains})


def _row(signals: Signals, decision: Decision, run_key: str, beside: Json) -> Json:
    """One row of history: plain numbers that can be plotted; ``dry_run`` has what policies beside would have done."""
    newest: dict[str, Any] = {}
    for m in reversed(signals.quality):
        newest |= {m.name: m.value}
        if m.name == "calibration_gap":
            newest |= {"calibration_gap_low": m.low, "calibration_gap_high": m.high, "labels": m.n}
    psi = {m.slice.removeprefix("feature="): m.value for m in signals.inputs if m.name == "psi"}
    return {
        "as_of": signals.as_of.isoformat(),
        "run_key": run_key,
        "champion": signals.champion,
        "action": decision.action,
        "reasons": list(decision.reasons),
        "decision": decision.digest,
        "policy": decision.policy,
        "signals": signals.to_dict(),
        **newest,
        "requests": signals.requests,
        "verdicts": {v.check: v.outcome.value for v in decision.verdicts},
        "drops": {f"{m.name} {m.slice}".strip(): m.value for m in _measured(decision, QUALITY)},
        "latency_p95_ms": next((m.value for m in signals.operations), None),
        **_used(decision),
        "requests_per_day": next((m.value for m in signals.upstream if m.name == VOLUME), None),
        "parity": {v.check: v.outcome.value for v in decision.verdicts if v.check in parity.CHECKS},
        "psi": psi,
        "gain": next((m.value for m in reversed(signals.gains) if m.name == GAIN_MEASURED), None),
        "gains": [m.to_dict() for m in signals.gains],
        "dry_run": beside,
        "psi_max": max((v for v in psi.values() if v is not None), default=None),
    }


def _used(decision: Decision) -> Json:
    """Failed answers and memory; processor time per row by the size of the calls."""
    now = [m for m in _measured(decision, USAGE) if m.variant != BASELINE]
    plain: Json = {name: next((m.value for m in now if m.name == name), None) for name in (ERRORS, MEMORY)}
    return plain | {CPU: {m.slice: m.value for m in now if m.name == CPU and m.slice}}


def _incidents(platform: Platform, decision: Decision, now: datetime) -> None:
    """Open an incident per cause of a page, and close those whose check has succeeded since."""
    journal, model = platform.ledger.journal, decision.model
    for verdict in (v for v in decision.verdicts if v.check in _INCIDENTS):
        if verdict.outcome is Outcome.FAILED:
            journal.raise_incident(_incident(decision, verdict.check, verdict.reason, verdict, now))
        elif verdict.outcome is Outcome.SUCCESSFUL:
            journal.resolve_incident(_key(model, verdict.check), now, verdict.reason)
    spent = decision.action == "page" and all(v.outcome is not Outcome.FAILED for v in _of(decision, *_INCIDENTS))
    if spent:
        journal.raise_incident(_incident(decision, "budget", "; ".join(decision.reasons), None, now))
    elif _of(decision, governor.CALIBRATION)[:1] and decision.action in {"nothing", "retrain"}:
        journal.resolve_incident(_key(model, "budget"), now, decision.reasons[0])


def _of(decision: Decision, *checks: str) -> list[Verdict]:
    return [v for v in decision.verdicts if v.check in checks]


def _measured(decision: Decision, check: str) -> list[Measurement]:
    return [m for v in _of(decision, check) for m in v.measurements]


def _key(model: str, cause: str) -> str:
    return f"drift:{model}:{cause}"


def _incident(decision: Decision, cause: str, detail: str, verdict: Verdict | None, now: datetime) -> Incident:
    return Incident(
        key=_key(decision.model, cause),
        model=decision.model,
        kind="drift",
        severity=verdict.severity if verdict else Severity.BLOCKER,
        title=f"{decision.model}: {detail.partition(':')[0]}",
        detail=detail,
        opened_at=now,
        evidence=(decision.digest,),
        next_step=_NEXT_STEP[cause],
    )


def _audit(platform: Platform, decision: Decision, earlier: list[Json], run_key: str, now: datetime) -> None:
    """Retrainings each, everything else when it changes: an hourly "watch" must not drown the log."""
    before = next((row["action"] for row in reversed(earlier) if row["as_of"] != decision.as_of.isoformat()), "nothing")
    if decision.action in {"nothing", before} and decision.action != "retrain":
        return
    event = AuditEvent(
        at=now,
        actor=ACTOR,
        action=f"drift.{decision.action}",
        model=decision.model,
        subject=decision.subject,
        reason="; ".join(decision.reasons),
        digests=(decision.digest, *decision.evidence),
        detail={"run_key": run_key, "as_of": decision.as_of.isoformat()},
    )
    platform.ledger.journal.audit(event)
