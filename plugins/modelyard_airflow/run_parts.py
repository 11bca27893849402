"""Parts that several run pages share: how a release, a decision, a verdict and a link are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from modelyard.core.digest import short
from modelyard.core.records import Release
from modelyard.core.verdict import Decision, Measurement, Outcome, Verdict
from modelyard.ports.platform import Platform
from modelyard_airflow.access import Run
from modelyard_airflow.page import At, Cell, Link, Mark, Section, Tone

# The page's own address ends in modelyard/runs/<dag>/<run>. Relative addresses hold behind any proxy.
_AIRFLOW, _REPORTS = "../../../", "../../reports/"
_STATES: dict[str, Tone] = {"ready": "good", "quarantined": "bad"}
_TONES: dict[Outcome, Tone] = {
    Outcome.SUCCESSFUL: "good",
    Outcome.FAILED: "bad",
    Outcome.ERROR: "bad",
    Outcome.INCONCLUSIVE: "unsure",
}
VERDICTS = ("outcome", "check", "severity", "why")


@dataclass(frozen=True)
class Asked:
    """What a page is about. ``runs`` finds other runs, to link to those that exist."""

    platform: Platform
    model: str
    run: Run
    runs: Callable[[str, str], Run | None]


def moment(at: datetime | None) -> str:
    """A moment within a sentence."""
    return At(at).text


def mlflow_run(asked: Asked, run_id: str) -> Cell:
    """A link to a run in MLflow, made without asking MLflow: its page finds the experiment by itself."""
    settings = asked.platform.settings
    base = (settings.mlflow_public_url or settings.mlflow_uri).rstrip("/")
    if not base.startswith(("http://", "https://")):
        return f"{run_id} (MODELYARD_MLFLOW_PUBLIC_URL is not set)"
    return Link(run_id, f"{base}/#/runs/{quote(run_id, safe='')}")


def report(asked: Asked, path: Path, text: str, otherwise: str) -> Cell:
    """A link to a document below ``<home>/docs``, if it has been made."""
    docs = asked.platform.settings.home / "docs"
    if not (path.is_relative_to(docs) and path.is_file()):
        return otherwise
    return Link(text, _REPORTS + quote(str(path.relative_to(docs))))


def other_run(asked: Asked, dag_id: str, run_id: str) -> Cell:
    """A link to another run in Airflow; only its name where Airflow does not have it any more."""
    if not run_id or asked.runs(dag_id, run_id) is None:
        return run_id or "-"
    return Link(run_id, f"{_AIRFLOW}dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}")


def release_section(asked: Asked, release: Release) -> Section:
    """What was released, and where its training is recorded."""
    facts: list[tuple[str, Cell]] = [
        ("version", f"{release.version} ({release.semver})"),
        ("state", state_of(asked, release)),
        ("digest", release.digest),
        ("MLflow run", mlflow_run(asked, release.mlflow_run_id)),
        ("trained as of", At(release.as_of)),
        ("made", f"{moment(release.created_at)} by {release.author}"),
        ("code", release.code_commit),
    ]
    if release.overrides:
        facts.append(("overrides", Mark(json.dumps(release.overrides, ensure_ascii=False), "unsure")))
    return Section("Release", facts=tuple(facts))


def state_of(asked: Asked, release: Release) -> Cell:
    """The release's state now, and whether it serves everybody."""
    state = asked.platform.ledger.releases.state(release.digest)
    champion = asked.platform.ledger.releases.champion(asked.model)
    if champion is not None and champion.digest == release.digest:
        return Mark(f"{state}, champion now", "good")
    return Mark(state, _STATES.get(state, "unsure"))


def decision_section(title: str, decision: Decision, *, good: Iterable[str], bad: Iterable[str]) -> Section:
    """A decision with its reasons and a line per verdict, those that did not succeed first."""
    tone: Tone = "good" if decision.action in good else "bad" if decision.action in bad else "unsure"
    return Section(
        title,
        facts=(
            ("decision", Mark(decision.action.replace("_", " "), tone)),
            *(("because", reason) for reason in decision.reasons),
            ("as of", At(decision.as_of)),
            ("digest", decision.digest),
        ),
        columns=VERDICTS,
        rows=verdict_rows(decision.verdicts),
    )


def verdict_rows(verdicts: Iterable[Verdict]) -> tuple[tuple[Cell, ...], ...]:
    """A line per verdict, those that did not succeed first."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.outcome is Outcome.SUCCESSFUL)
    return tuple(
        (
            Mark(verdict.outcome.value, _TONES[verdict.outcome]),
            verdict.check,
            verdict.severity.value + (" (dry run)" if verdict.dry_run else ""),
            verdict.reason,
        )
        for verdict in ordered
    )


def measured(measurement: Measurement) -> tuple[str, str, str]:
    """Name, value with its bounds, and n of a measurement."""
    about = " ".join(part for part in (measurement.name, measurement.variant, measurement.slice) if part)
    if measurement.value is None:
        return about, f"not known: {measurement.why}", str(measurement.n or "-")
    value = f"{measurement.value:.6g}{' ' + measurement.unit if measurement.unit else ''}"
    if measurement.low is not None or measurement.high is not None:
        low, high = ("-" if bound is None else f"{bound:.6g}" for bound in (measurement.low, measurement.high))
        value += f" [{low}, {high}] at {measurement.confidence:.4g}"
    return about, value, str(measurement.n or "-")


def newest_release(asked: Asked, wanted: Callable[[Release], bool]) -> Release | None:
    """The newest release of the model of which this is true."""
    history = asked.platform.ledger.releases.history(asked.model)
    return next((release for release, _ in reversed(history) if wanted(release)), None)


def name_of(release: Release) -> str:
    """A release in a sentence."""
    return f"version {release.version} ({release.semver}, {short(release.digest)})"
