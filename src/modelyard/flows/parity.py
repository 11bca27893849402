"""Are features served as training would see them? Sampled requests, joined again offline as of their own moment.

The entities of a request are not in the prediction log; they come from the row of the same key that has landed since.
So a request can be compared once its outcome is known, and one whose row never lands is counted as not comparable.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.records import Incident, Release
from modelyard.core.verdict import Condition, Decision, Measurement, Outcome, Severity, Verdict, worst
from modelyard.core.window import Window
from modelyard.data.source import landing_zone
from modelyard.features.parity import FeatureParity, ParityPolicy, compare
from modelyard.flows import features
from modelyard.ports.platform import Platform

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
    found: tuple[FeatureParity, ...] = ()
    if len(served) >= policy.min_rows:
        features.build(platform, model, as_of)
        offline = platform.features.training_frame(project, landed)
        found = _compare(project, served, offline, policy)
    return _verdicts(found, len(served), len(sample), window, champion.digest, policy), found


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


def _compare(
    project: Project, served: pd.DataFrame, offline: pd.DataFrame, policy: ParityPolicy
) -> tuple[FeatureParity, ...]:
    """Every feature that both sides have: the views' own, and those of the request that the source knows too."""
    both = [name for name in project.spec.features if name in served.columns and name in offline.columns]
    kinds = {name: project.spec.features[name].kind for name in both}
    numeric = [name for name in both if kinds[name] == "numeric"]
    categorical = [name for name in both if kinds[name] != "numeric"]
    return compare(served, offline, numeric=numeric, categorical=categorical, policy=policy)


def _verdicts(
    found: tuple[FeatureParity, ...], n: int, sampled: int, window: Window, subject: str, policy: ParityPolicy
) -> tuple[Verdict, ...]:
    bounds = {PARITY: ("differing", policy.max_differing), NOT_SERVED: ("not_served", policy.max_not_served)}
    if not found:
        why = f"{n} of {sampled} sampled requests of {window} have landed; {policy.min_rows} are needed"
        return tuple(
            Verdict(
                check=check,
                outcome=Outcome.INCONCLUSIVE,
                reason=why,
                measurements=(Measurement(name=what, value=None, n=n, window=window, subject=subject, why=why),),
                category="parity",
            )
            for check, (what, _) in bounds.items()
        )
    return tuple(
        _verdict(check, what, bound, found, n, sampled, window, subject) for check, (what, bound) in bounds.items()
    )


def _verdict(
    check: str,
    what: str,
    bound: float,
    found: tuple[FeatureParity, ...],
    n: int,
    sampled: int,
    window: Window,
    subject: str,
) -> Verdict:
    shares = {f.name: getattr(f, what) / f.n for f in found}
    beyond = [f for f in found if shares[f.name] > bound]
    words = {"differing": "differ between serving and training", "not_served": "were not served though they were known"}
    told = "; ".join(f"{f.name}: {shares[f.name]:.1%} {words[what]} (for instance {f.example})" for f in beyond)
    compared = f"{n} of {sampled} sampled requests could be compared"
    return Verdict(
        check=check,
        outcome=Outcome.FAILED if beyond else Outcome.SUCCESSFUL,
        severity=Severity.BLOCKER,
        reason=f"{told}; {compared}"
        if beyond
        else f"no feature beyond {bound:.1%} of values that {words[what]}; {compared}",
        condition=Condition(direction="at_most", bound=bound),
        measurements=tuple(
            Measurement(name=what, value=share, n=n, slice=f"feature={name}", window=window, subject=subject)
            for name, share in shares.items()
        ),
        category="parity",
    )
