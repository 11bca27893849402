"""Are features served as training would see them? Sampled requests, joined again offline as of their own moment.

The entities of a request are not in the prediction log; they come from the row of the same key that has landed since.
So a request can be compared once its outcome is known, and one whose row never lands is counted as not comparable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from modelyard.config.policies import load_policy
from modelyard.config.project import Project, load_project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.records import Incident
from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.core.window import Window
from modelyard.data.source import landing_zone
from modelyard.features.parity import FeatureParity, ParityPolicy, compare
from modelyard.flows import features
from modelyard.ports.ledger import Json
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
    champion = platform.ledger.releases.champion(model)
    if champion is None or not project.spec.views:
        what = "has no champion" if champion is None else "reads no feature view"
        raise EvidenceMissing(f"{model} {what}, so there is nothing to compare")
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


def evidence(platform: Platform, model: str, as_of: datetime, earlier: Sequence[Json]) -> tuple[Verdict, ...]:
    """The verdicts for a drift check; none where the last ones (in ``earlier`` rows of checks) are recent enough.

    What goes wrong in measuring is a verdict of outcome ``error``: the check itself goes on.
    """
    project = load_project(model, platform.settings)
    if not project.spec.views or platform.ledger.releases.champion(model) is None:
        return ()
    try:
        policy = load_policy(ParityPolicy, "parity", platform.settings, model)
        oldest = as_of - timedelta(hours=policy.every_hours)
        recent = (row for row in earlier if oldest < datetime.fromisoformat(row["as_of"]) <= as_of)
        if any(_compared_then(row) for row in recent):
            return ()
        return measure(platform, model, as_of)[0]
    except Exception as error:  # noqa: BLE001  whatever it is, drift must still be looked at; the verdict says it
        why = f"features could not be compared: {type(error).__name__}: {error}"
        nothing = Measurement(name="differing", value=None, why=why)
        return (Verdict(check=PARITY, outcome=Outcome.ERROR, reason=why, measurements=(nothing,), category="parity"),)


def _compared_then(row: Json) -> bool:
    """Whether a check came to an answer; where it did not, the next one tries again."""
    return bool({"successful", "failed"} & set((row.get("parity") or {}).values()))


def incidents(platform: Platform, model: str, verdicts: Sequence[Verdict], digest: str, now: datetime) -> None:
    """Open an incident for each verdict that failed, and resolve those whose verdict is good again."""
    journal = platform.ledger.journal
    for verdict in verdicts:
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
                    evidence=(digest,),
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
