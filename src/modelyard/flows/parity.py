"""Are features served as training would see them? Sampled requests, joined again offline as of their own moment.

The entities of a request are not in the prediction log; they come from the row of the same key that has landed since.
So a request can be compared once its outcome is known, and one whose row never lands is counted as not comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.records import Incident, Release
from modelyard.core.verdict import Condition, Decision, Measurement, Outcome, Severity, Verdict, worst
from modelyard.core.window import Window
from modelyard.data.source import landing_zone
from modelyard.features.parity import FeatureParity, ParityPolicy, absent, compare
from modelyard.flows import features
from modelyard.ports.platform import Platform
from modelyard.release.bundle import read_bundle
from modelyard.release.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

PARITY, NOT_SERVED = "parity", "feature_freshness"
CHECKS = (PARITY, NOT_SERVED)


def measure(platform: Platform, model: str, as_of: datetime) -> tuple[tuple[Verdict, ...], tuple[FeatureParity, ...]]:
    """The two verdicts (``parity``, ``feature_freshness``) and the features behind them, as of a moment.

    Without enough comparable requests both are inconclusive, which is no pass. Changes nothing but the offline views,
    which are brought up to ``as_of``.

    Raises:
        EvidenceMissing: the model has no champion, or reads no feature view.
    """
    project = load_project(model, platform.settings)
    policy = load_policy(ParityPolicy, "parity", platform.settings, model)
    champion = _comparable(platform, project)
    window = Window.last(timedelta(hours=policy.window_hours), as_of)
    log = platform.predictions.joined(model, window, as_of)
    rows = landing_zone(project, platform.settings).read(window.start - timedelta(hours=1), as_of)
    own = log[log["version"] == champion.version]
    sample = own.iloc[:0] if rows.empty else _sample(own, policy.sample)
    served, landed = (sample, rows) if sample.empty else _matched(project, sample, rows)
    if len(served) < policy.min_rows:
        why = f"{len(served)} of {len(sample)} sampled requests of {window} have landed; {policy.min_rows} are needed"
        return tuple(_nothing(name, Outcome.INCONCLUSIVE, why) for name in CHECKS), ()
    features.build(platform, model, as_of)
    offline = platform.features.training_frame(project, landed)
    views = _views(platform, champion)
    found = _compare(project, served, offline, policy, views)
    seen = f"{len(served)} of {len(sample)} sampled requests could be compared"
    about = {"window": window, "subject": champion.digest}
    verdicts = (_parity(found, views, policy.max_differing, seen, about), _freshness(found, policy, seen, about))
    return verdicts, found


def check(platform: Platform, model: str, as_of: datetime, *, now: datetime | None = None) -> Decision | None:
    """Compare, and record the verdicts as a decision about the champion; a failed one opens an incident.

    Nothing is done, and None returned, where the last comparison that came to an answer is recent enough. What goes
    wrong in measuring is a verdict of outcome ``error``. ``now`` is when it is done (incidents); by default, now.

    Raises:
        EvidenceMissing: the model has no champion, or reads no feature view.
    """
    champion = _comparable(platform, load_project(model, platform.settings))
    policy = load_policy(ParityPolicy, "parity", platform.settings, model)
    last = _last(platform, champion, as_of)
    if last is not None and last.as_of > as_of - timedelta(hours=policy.every_hours) and _answered(last):
        return None
    try:
        verdicts = measure(platform, model, as_of)[0]
    except Exception as error:  # noqa: BLE001  whatever it is, the verdict says it, and the next run tries again
        why = f"features could not be compared: {type(error).__name__}: {error}"
        verdicts = tuple(_nothing(name, Outcome.ERROR, why) for name in CHECKS)
    outcome = worst([verdict.outcome for verdict in verdicts])
    decision = Decision(
        kind="parity",
        action={Outcome.SUCCESSFUL: "alike", Outcome.FAILED: "different"}.get(outcome, "unknown"),
        model=model,
        subject=champion.digest,
        reasons=tuple(verdict.reason for verdict in verdicts),
        verdicts=verdicts,
        policy=policy.digest,
        as_of=as_of,
    )
    platform.ledger.journal.decide(decision)
    _incidents(platform, decision, now or datetime.now(UTC))
    return decision


def evidence(platform: Platform, model: str, as_of: datetime) -> tuple[Verdict, ...]:
    """The verdicts of the last comparison, for a drift check; reads the ledger only.

    Inconclusive where there is none for this champion, or none in three times the hours that the policy sets. None at
    all for a model that has no champion or reads no feature view.
    """
    try:
        champion = _comparable(platform, load_project(model, platform.settings))
    except EvidenceMissing:
        return ()
    hours = 3 * load_policy(ParityPolicy, "parity", platform.settings, model).every_hours
    last = _last(platform, champion, as_of)
    if last is not None and last.as_of > as_of - timedelta(hours=hours):
        return last.verdicts
    when = "not been compared yet" if last is None else f"not been compared since {last.as_of.isoformat()}"
    return tuple(_nothing(name, Outcome.INCONCLUSIVE, f"served and offline features have {when}") for name in CHECKS)


def _comparable(platform: Platform, project: Project) -> Release:
    champion = platform.ledger.releases.champion(project.name)
    if champion is None or not project.spec.views:
        what = "has no champion" if champion is None else "reads no feature view"
        raise EvidenceMissing(f"{project.name} {what}, so there is nothing to compare")
    return champion


def _last(platform: Platform, champion: Release, as_of: datetime) -> Decision | None:
    """The last comparison made for this champion as of a moment that is not later."""
    made = platform.ledger.journal.decisions(champion.model, "parity", champion.digest)
    earlier = sorted((d for d in made if d.as_of <= as_of), key=lambda d: d.as_of)
    return earlier[-1] if earlier else None  # of those about one moment, the one made last


def _answered(decision: Decision) -> bool:
    return {v.outcome for v in decision.verdicts} <= {Outcome.SUCCESSFUL, Outcome.FAILED}


def _nothing(name: str, outcome: Outcome, why: str) -> Verdict:
    missing = Measurement(name="differing" if name == PARITY else "not_served", value=None, why=why)
    return Verdict(check=name, outcome=outcome, reason=why, measurements=(missing,), category="parity")


def _incidents(platform: Platform, decision: Decision, now: datetime) -> None:
    """Open an incident for each verdict that failed or broke, and resolve those whose verdict is good again."""
    journal, model = platform.ledger.journal, decision.model
    for verdict in decision.verdicts:
        key = f"features:{model}:{verdict.check}"
        if verdict.outcome is Outcome.SUCCESSFUL:
            journal.resolve_incident(key, now, verdict.reason)
        elif verdict.outcome in (Outcome.FAILED, Outcome.ERROR):
            journal.raise_incident(
                Incident(
                    key=key,
                    model=model,
                    kind="drift",
                    severity=verdict.severity,
                    title=f"{model}: features are not served as training sees them",
                    detail=verdict.reason,
                    opened_at=now,
                    evidence=(decision.digest,),
                    next_step=f"`modelyard drift parity --model {model}`; see the view's source and what writes it.",
                )
            )


def _sample(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Chosen by a hash of the request's id: no order and no seed plays a part."""
    hashes = [hashlib.sha256(str(name).encode()).hexdigest() for name in rows["request_id"]]
    chosen = sorted(range(len(hashes)), key=hashes.__getitem__)[:most]
    return rows.iloc[chosen].reset_index(drop=True)


def _matched(project: Project, sample: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sampled requests whose row has landed, and that row for each, asked at the request's own moment."""
    source = project.spec.source
    rows = rows.assign(**{source.key: rows[source.key].astype(str)}).drop_duplicates(source.key, keep="last")
    served = sample[sample["key"].isin(rows[source.key])].reset_index(drop=True)
    landed = rows.set_index(source.key, drop=False).loc[served["key"]].reset_index(drop=True)
    return served, landed.assign(**{source.event_time: served["event_time"]})


def _views(platform: Platform, champion: Release) -> dict[str, str]:
    """The features that the champion reads from views, each with its view."""
    bundle = read_bundle(platform.ledger.releases.bundle(champion.digest), champion.digest)
    inputs = Signature.from_json(bundle.files["signature.json"]).inputs
    return {i.name: i.source for i in inputs if i.source != "request"}


def _compare(
    project: Project, served: pd.DataFrame, offline: pd.DataFrame, policy: ParityPolicy, views: Mapping[str, str]
) -> tuple[FeatureParity, ...]:
    """Every feature that both sides have: the views' own, and those of the request that the source knows too. A view's
    feature that the champion reads and a side lacks is among them as ``absent``."""
    both = [name for name in project.spec.features if name in served.columns and name in offline.columns]
    kinds = {name: project.spec.features[name].kind for name in both}
    numeric = [name for name in both if kinds[name] == "numeric"]
    categorical = [name for name in both if kinds[name] != "numeric"]
    found = compare(served, offline, numeric=numeric, categorical=categorical, policy=policy)
    return (*found, *(absent(name, served, offline) for name in views if name not in both))


def _parity(
    found: tuple[FeatureParity, ...], views: Mapping[str, str], bound: float, seen: str, about: dict[str, Any]
) -> Verdict:
    """Failed where values differ, or a side has no such feature; inconclusive where nothing of a view has any value."""
    lost = [f"{f.name}: no such feature {f.absent}" for f in found if f.absent]
    wrong = [*lost, *_beyond(found, "differing", bound, "differ between serving and training")]
    known = {views[f.name] for f in found if f.name in views and f.known}
    empty = [f"nothing of view {v} has a value on either side" for v in dict.fromkeys(views.values()) if v not in known]
    silent = [f.name for f in found if not f.absent and not f.known]
    missing = sum(f.both_missing for f in found)
    told = f"{missing} of {sum(f.n for f in found if not f.absent)} values are missing on both sides"
    told += f" (all of {', '.join(silent)})" if silent else ""
    fine = f"no feature beyond {bound:.1%} of values that differ between serving and training"
    outcome = Outcome.FAILED if wrong else Outcome.INCONCLUSIVE if empty else Outcome.SUCCESSFUL
    counted = tuple(
        Measurement(name="both_missing", value=f.both_missing, n=f.n, slice=f"feature={f.name}", **about)
        for f in found
        if f.both_missing
    )
    reason = "; ".join([*(wrong or ([] if empty else [fine])), *empty, told, seen])
    return _verdict(PARITY, outcome, reason, bound, (*_shares(found, "differing", about), *counted))


def _freshness(found: tuple[FeatureParity, ...], policy: ParityPolicy, seen: str, about: dict[str, Any]) -> Verdict:
    bound, words = policy.max_not_served, "were not served though they were known"
    late = _beyond(found, "not_served", bound, words)
    lost = [f"{f.name} is unknown: no such feature {f.absent}" for f in found if f.absent]
    outcome = Outcome.FAILED if late else Outcome.INCONCLUSIVE if lost else Outcome.SUCCESSFUL
    fine = [] if late or lost else [f"no feature beyond {bound:.1%} of values that {words}"]
    reason = "; ".join([*late, *lost, *fine, seen])
    return _verdict(NOT_SERVED, outcome, reason, bound, _shares(found, "not_served", about))


def _beyond(found: tuple[FeatureParity, ...], what: str, bound: float, words: str) -> list[str]:
    shares = ((f, getattr(f, what) / f.known) for f in found if f.known)
    return [f"{f.name}: {share:.1%} {words} (for instance {f.example})" for f, share in shares if share > bound]


def _shares(found: tuple[FeatureParity, ...], what: str, about: dict[str, Any]) -> tuple[Measurement, ...]:
    """Of the rows in which either side has a value."""
    made = []
    for f in found:
        share = getattr(f, what) / f.known if f.known else None
        why = f"no such feature {f.absent}" if f.absent else "missing on both sides in every row"
        where = f"feature={f.name}"
        made.append(Measurement(name=what, value=share, n=f.known, slice=where, why="" if f.known else why, **about))
    return tuple(made)


def _verdict(check: str, outcome: Outcome, reason: str, bound: float, measured: tuple[Measurement, ...]) -> Verdict:
    return Verdict(
        check=check,
        outcome=outcome,
        severity=Severity.BLOCKER,
        reason=reason,
        condition=Condition(direction="at_most", bound=bound),
        measurements=measured,
        category="parity",
    )
