"""The page of each run: what it was about, on a real ledger; only for people who may see the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import Depends, HTTPException
from fastapi.testclient import TestClient
from fixtures.bundles import write_bundle_of
from fixtures.platforms import release_for, write_project
from fixtures.rollouts import pending, running

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.core.digest import digest_json
from modelyard.core.records import AnalysisRun, Approval, Incident, Release, Snapshot
from modelyard.core.verdict import Decision, Measurement, Outcome, Severity, Verdict
from modelyard.core.window import Window
from modelyard.runtime.sockets import free_port
from modelyard.wiring import ConnectedPlatform

from .conftest import ROOT, Airflow

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MLFLOW = "http://mlflow.example"
EVIL = "<script>alert('x')</script>\"&"
ESCAPED = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;"
POLICY = digest_json("policy")


class Platform(ConnectedPlatform):
    """The real wiring, on the module's ledger."""

    def __init__(self, settings: Any, ledger: Any) -> None:
        super().__init__(settings)
        self.__dict__["ledger"] = ledger


@dataclass
class Pages:
    """The pages, the platform they read, and the runs that Airflow is said to have."""

    platform: Platform
    runs: dict[tuple[str, str], Any] = field(default_factory=dict)
    guard: Callable[[], None] = lambda: None

    def run(self, loop: str, run_id: str, **given: Any) -> Any:
        from modelyard_airflow.access import Run

        dag = f"delays__{loop}"
        fields = {"kind": "manual", "state": "success", "wall": NOW} | given
        self.runs[dag, run_id] = Run(dag_id=dag, run_id=run_id, **fields)

    def get(self, path: str) -> Any:
        from modelyard_airflow import run_pages

        guard = Depends(self.guard)
        find = lambda dag, run: self.runs.get((dag, run))  # noqa: E731
        app = run_pages.application(lambda: self.platform, runs=find, readers=guard, anybody=guard)
        return TestClient(app).get(path)

    def text(self, loop: str, run_id: str) -> str:
        answer = self.get(f"/delays__{loop}/{run_id}")
        assert answer.status_code == 200, answer.text
        found: str = answer.text
        return found


@pytest.fixture
def pages(ledger_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pages:
    from sqlalchemy import text

    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    with ledger_engine.begin() as db:
        tables = db.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        names = ", ".join(f'"{name}"' for name in tables if name not in ("alembic_version", "audit_log"))
        db.execute(text(f"TRUNCATE {names} CASCADE"))
    settings = write_project(tmp_path, "delays").model_copy(update={"mlflow_public_url": MLFLOW})
    return Pages(Platform(settings, PostgresLedger(ledger_engine)))


def judged(kind: Any, action: str, subject: str, *verdicts: Verdict, evidence: tuple[str, ...] = ()) -> Decision:
    return Decision(
        kind=kind, action=action, model="delays", subject=subject, reasons=(f"{kind} because {EVIL}",),
        verdicts=verdicts, evidence=evidence, policy=POLICY, as_of=NOW,
    )  # fmt: skip


def verdict(check: str, outcome: Outcome, reason: str = "as it is") -> Verdict:
    return Verdict(check=check, outcome=outcome, severity=Severity.BLOCKER, reason=reason)


def snapshot_of(pages: Pages) -> Snapshot:
    snapshot = Snapshot(
        model="delays", window=Window(start=datetime(2025, 10, 1, tzinfo=UTC), end=NOW), as_of=NOW, rows=73353,
        columns=("at",), content=digest_json("rows"), dvc_md5="0" * 32, path="rows.parquet",
    )  # fmt: skip
    pages.platform.ledger.snapshots.add(snapshot)
    return snapshot


def trained(pages: Pages, run_id: str, **changes: Any) -> Release:
    """A release that a retraining run made, on the ledger."""
    journal, snapshot = pages.platform.ledger.journal, snapshot_of(pages)
    asked = judged("governor", "retrain", "delays", verdict("calibration", Outcome.FAILED))
    journal.decide(asked)
    release, arm = write_bundle_of(pages.platform.settings.root / "bundles" / "1", version=1, model="delays")
    parts = {"run": run_id, "trigger": "asset:modelyard://delays/drift", "evidence": asked.digest}
    given = {"mlflow_run_id": "abc123", "snapshot": snapshot.content, "reason": EVIL, "author": "governor"} | changes
    release = release.model_copy(update={**given, "parts": release.parts | parts})
    pages.platform.ledger.releases.add(release, arm.bundle)
    return release


def test_a_retraining_shows_everything_from_its_reason_to_its_rollout(pages: Pages) -> None:
    ledger = pages.platform.ledger
    release = trained(pages, "asset__1", overrides={"params": {"x": EVIL}})
    ledger.journal.decide(judged("validation", "admit", release.snapshot, verdict("rows", Outcome.SUCCESSFUL)))
    document = pages.platform.validator.document("delays", release.snapshot)
    document.parent.mkdir(parents=True)
    document.write_text("docs")
    outcomes = [verdict(f"gate_{outcome.value}", outcome, EVIL) for outcome in Outcome]
    gates = judged("gates", "ready", release.digest, *outcomes)
    ledger.journal.decide(judged("gates", "blocked", release.digest))
    ledger.journal.decide(gates)
    ledger.journal.decide(judged("governance", "risk_high", release.digest, evidence=(gates.digest,)))
    answer = {"release": release.digest, "at": NOW, "answer": "approve", "automatic": False, "comment": EVIL}
    ledger.journal.approve(Approval(**answer, decision=gates.digest, by="ann"))
    ledger.journal.approve(Approval(**answer, decision=digest_json("earlier"), by="bob"))
    state = pending(release=release.digest)
    ledger.rollouts.open(state.id, "delays", release.digest, state.to_dict(), NOW)
    started = f"release-{release.digest[7:19]}"
    pages.run("rollout", started)
    pages.run("retrain", "asset__1")
    page = pages.text("retrain", "asset__1")

    assert "asset:modelyard://delays/drift" in page
    assert "The governor&#39;s decision" in page
    assert f'<a href="{MLFLOW}/#/runs/abc123" target="_blank" rel="noopener noreferrer">' in page
    place = document.relative_to(pages.platform.settings.home / "docs")
    assert f'href="../../reports/{place}"' in page
    assert f'href="../../../dags/delays__rollout/runs/{started}"' in page
    for expected in (release.digest, release.semver, "73,353", "risk high", ">ann<", state.id):
        assert expected in page
    tones = {"successful": "good", "failed": "bad", "error": "bad", "inconclusive": "unsure"}
    for outcome, tone in tones.items():
        assert f'<span class="{tone}">{outcome}</span></td><td>gate_{outcome}</td>' in page
    assert page.count("an earlier decision: void") == 1
    assert ESCAPED in page
    assert "<script" not in page


def test_a_retraining_that_drift_asked_for_links_its_drift_report(pages: Pages) -> None:
    from modelyard.flows.monitor import report_path

    trained(pages, "asset__1")
    pages.run("retrain", "asset__1")
    path = report_path(pages.platform.settings.home, "delays", NOW)
    assert "not drawn yet" in pages.text("retrain", "asset__1")
    path.parent.mkdir(parents=True)
    path.write_text("report")
    assert f'href="../../reports/drift/delays/{path.name}"' in pages.text("retrain", "asset__1")


def test_a_retraining_without_a_release_says_so_and_shows_what_is_open(pages: Pages) -> None:
    incident = Incident(
        key="k", model="delays", kind="validation", severity=Severity.BLOCKER, title="quarantined", detail=EVIL,
        opened_at=NOW, next_step="mend the source",
    )  # fmt: skip
    pages.platform.ledger.journal.raise_incident(incident)
    trained(pages, "another")
    pages.run("retrain", "manual__1", state="failed", person="ann", conf={"reason": EVIL, "as_of": ""})
    page = pages.text("retrain", "manual__1")
    assert "No release on the ledger names this run, which is failed now." in page
    assert "mend the source" in page
    assert page.count(ESCAPED) == 2
    assert "MLflow run" not in page


def checked(pages: Pages, run_key: str, at: datetime = NOW) -> Decision:
    decision = judged("governor", "retrain", "delays", verdict("calibration", Outcome.FAILED, "gap"))
    pages.platform.ledger.journal.decide(decision)
    row = {"as_of": at.isoformat(), "run_key": run_key, "decision": decision.digest, "champion": None, "requests": 7}
    pages.platform.ledger.journal.check("delays", at, row)
    return decision


def test_a_check_shows_its_decision_and_links_its_report_once_drawn(pages: Pages) -> None:
    from modelyard.flows.monitor import report_path

    for hour in (-1, 0, 1):
        checked(pages, f"scheduled__{hour}", at=NOW + timedelta(hours=hour))
    journal = pages.platform.ledger.journal
    assert [row["run_key"] for row in journal.checks("delays", since=NOW, until=NOW)] == ["scheduled__0"]
    pages.run("monitor", "scheduled__0", kind="scheduled")
    page = pages.text("monitor", "scheduled__0")
    assert '<span class="unsure">retrain</span>' in page
    assert "<td>calibration</td>" in page
    assert "not drawn" in page
    path = report_path(pages.platform.settings.home, "delays", NOW)
    path.parent.mkdir(parents=True)
    path.write_text("report")
    assert f'href="../../reports/drift/delays/{path.name}"' in pages.text("monitor", "scheduled__0")


def test_a_check_of_another_run_is_not_taken_for_this_one(pages: Pages) -> None:
    checked(pages, "scheduled__1")
    pages.run("monitor", "manual__1", conf={"as_of": NOW.isoformat()})
    page = pages.text("monitor", "manual__1")
    assert "No check on the ledger names this run" in page
    assert "is that of run scheduled__1" in page
    pages.run("monitor", "manual__2", conf={"as_of": EVIL})
    assert "is no moment" in pages.text("monitor", "manual__2")


def test_a_check_names_the_retraining_that_answered_it(pages: Pages) -> None:
    release = trained(pages, "asset__1")
    decision = pages.platform.ledger.journal.decision(release.parts["evidence"])
    row = {"as_of": NOW.isoformat(), "run_key": "scheduled__1", "decision": decision.digest}
    pages.platform.ledger.journal.check("delays", NOW, row)
    pages.run("monitor", "scheduled__1")
    pages.run("retrain", "asset__1")
    assert 'href="../../../dags/delays__retrain/runs/asset__1"' in pages.text("monitor", "scheduled__1")


def test_a_rollout_shows_its_looks_with_reasons_and_bounds(pages: Pages) -> None:
    digest = release_for(pages.platform, "delays", 1, NOW)  # type: ignore[arg-type]
    state = running(release=digest)
    ledger = pages.platform.ledger
    ledger.rollouts.open(state.id, "delays", digest, state.to_dict(), NOW)
    worse = Measurement(name="loss_difference", value=0.25, n=1200, low=0.1, high=0.4, confidence=0.975)
    none = Measurement(name="latency_p95", value=None, why=EVIL)
    ledger.rollouts.look(
        AnalysisRun(
            rollout=state.id, model="delays", stage=0, look=1, as_of=NOW, measurements=(worse, none),
            verdicts=(verdict("quality", Outcome.FAILED),), action="rollback", reasons=("worse by far",), policy=POLICY,
        )
    )  # fmt: skip
    pages.run("rollout", f"release-{digest[7:19]}", state="running", conf={"release": digest})
    page = pages.text("rollout", f"release-{digest[7:19]}")
    for expected in (
        "0.25 [0.1, 0.4] at 0.975",
        "worse by far",
        f"Rollout {state.id}",
        "modelyard rollout abort delays",
    ):
        assert expected in page
    assert f"{MLFLOW}/#/runs/delays-1" in page
    assert f"not known: {ESCAPED}" in page
    pages.run("rollout", f"release-{digest[7:19]}")  # Airflow forgot the conf: the name says it too
    assert "worse by far" in pages.text("rollout", f"release-{digest[7:19]}")


def test_a_rollout_run_of_no_release_shows_what_there_is(pages: Pages) -> None:
    state = running()
    pages.platform.ledger.rollouts.open(
        state.id, "delays", release_for(pages.platform, "delays", 2, NOW), state.to_dict(), NOW
    )  # type: ignore[arg-type]
    pages.run("rollout", "manual__1", conf={})
    pages.run("rollout", "manual__2", conf={"release": digest_json("nobody's")})
    assert "names no release" in pages.text("rollout", "manual__1")
    page = pages.text("rollout", "manual__2")
    assert "which delays does not have" in page
    assert state.id in page


def test_features_are_shown_as_they_stand(pages: Pages) -> None:
    pages.run("features", "scheduled__1")
    assert "No views of this model" in pages.text("features", "scheduled__1")
    path = pages.platform.settings.home / "features" / "delays" / "built.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"moment": NOW.isoformat(), "landing": "x", "code": EVIL, "rows": {"rates": 12345}}))
    page = pages.text("features", "scheduled__1")
    assert "12,345" in page
    assert "not recorded" in page
    assert ESCAPED in page
    told = {"rows": 1200, "by_rule": {"Between(age)": 1200}, "not_applied": {}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"left_out": told}))
    assert "1,200 (Between(age): 1,200)" in pages.text("features", "scheduled__1")


def test_pages_run_nothing_and_let_links_open(pages: Pages) -> None:
    pages.run("features", "r1")
    answer = pages.get("/delays__features/r1")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "sandbox allow-popups allow-popups-to-escape-sandbox" in policy
    assert "unsafe" not in policy
    tab = pages.get("/tab.js")
    assert tab.headers["content-type"].startswith("text/javascript")
    assert "allow-popups-to-escape-sandbox" in tab.text


def test_no_link_leads_to_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    from modelyard_airflow.page import Link

    with pytest.raises(ValueError, match="only http"):
        Link("x", "javascript:alert(1)")


@pytest.mark.parametrize(
    "path", ["/delays__retrain/unknown", "/other/r1", "/~/r1", "/delays__retrain/" + "x" * 300, "/delays__retrain/%00"]
)
def test_what_does_not_exist_is_said_plainly(pages: Pages, path: str) -> None:
    pages.run("retrain", "r1")
    answer = pages.get(path)
    assert answer.status_code == 404
    assert "No such run" in answer.text


def test_a_ledger_that_is_away_is_said_plainly(pages: Pages) -> None:
    pages.run("retrain", "r1")
    away = f"postgresql+psycopg://nobody:x@127.0.0.1:{free_port()}/none"
    settings = pages.platform.settings.model_copy(update={"database_url": away})
    pages.platform = ConnectedPlatform(settings)  # type: ignore[assignment]
    answer = pages.get("/delays__retrain/r1")
    assert answer.status_code == 503
    assert "the platform&#39;s database does not answer" in answer.text


def test_strangers_learn_nothing_not_even_what_exists(pages: Pages) -> None:
    def refuse() -> None:
        raise HTTPException(403)

    pages.run("features", "r1")
    pages.guard = refuse
    assert [pages.get(p).status_code for p in ("/delays__features/r1", "/delays__features/r2", "/tab.js")] == [403] * 3


def test_airflow_shows_the_tab_and_asks_who_one_is_and_what_one_may_see(migrated: Airflow) -> None:
    program = """
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest import mock
from fastapi.testclient import TestClient
from airflow.api_fastapi.app import create_app
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from modelyard_airflow import access
app = create_app(apps="core")
client = TestClient(app)
paths = ("/modelyard/runs/delays__features/r1", "/modelyard/runs/tab.js")
strangers = [client.get(path).status_code for path in paths]
from airflow import plugins_manager
tabs = [tab["destination"] for tab in plugins_manager.get_plugin_info()[0]["react_apps"]]
sub = next(r.app for r in app.routes if getattr(r, "path", "") == "/modelyard/runs")
user = SimpleNamespace(name="ann", get_id=lambda: "ann", get_name=lambda: "ann", role=None, teams=[])
sub.dependency_overrides[get_user] = lambda: user
manager = app.state.auth_manager
asked = []
def allowed(self, *, method, access_entity=None, details=None, user):
    asked.append([method, access_entity.value, details.id])
    return details.id == "delays__features"
with mock.patch.object(type(manager), "is_authorized_dag", allowed):
    may = [client.get(f"/modelyard/runs/delays__{loop}/r1").status_code for loop in ("features", "monitor")]
with create_session() as session:
    session.add(DagRun(dag_id="delays__features", run_id="r1", run_type="manual", conf={"a": 1},
                       run_after=datetime(2026, 1, 1, tzinfo=UTC), state="success"))
found = access.find_run("delays__features", "r1")
with mock.patch.object(type(manager), "is_authorized_dag", allowed):
    page = client.get(paths[0])
print(json.dumps([strangers, tabs, may, asked[0], [found.kind, found.state, found.conf, found.wall.isoformat()],
                  page.status_code, "No views" in page.text]))
"""
    strangers, tabs, may, asked, found, status, plain = migrated.run(program)
    assert strangers == [401, 401]
    assert tabs == ["dag_run"]
    assert may == [404, 403]
    assert asked == ["GET", "RUN", "delays__features"]
    assert found == ["manual", "success", {"a": 1}, "2026-01-01T00:00:00+00:00"]
    assert (status, plain) == (200, True)
