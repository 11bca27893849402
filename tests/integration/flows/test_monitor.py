"""The drift check on a real ledger: decisions, history, incidents, and that asking twice changes nothing."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from integration.flows.decisions import MODEL, NOW, START, Here, counts, features, here, requests

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.core.errors import EvidenceMissing, IntegrityError, NotFound
from modelyard.core.verdict import Measurement, Outcome
from modelyard.core.window import Window
from modelyard.flows import monitor

if TYPE_CHECKING:
    from sqlalchemy import Engine

TRAFFIC = f"drift:{MODEL}:traffic"


@pytest.fixture
def platform(ledger_engine: Engine, tmp_path: Path) -> Here:
    return here(ledger_engine, tmp_path)


@pytest.fixture
def served(platform: Here) -> Here:
    """Version 1 is champion and was asked for three weeks."""
    platform.crown(platform.release())
    platform.predictions.rows = requests(6000, START, NOW - START)
    return platform


def with_gap(platform: Here, gap: float) -> Here:
    platform.predictions.rows = requests(6000, START, NOW - START, gap=gap)
    return platform


def test_without_a_champion_nothing_is_decided(platform: Here) -> None:
    decision = monitor.check(platform, MODEL, NOW)
    assert decision.action == "nothing"
    assert platform.ledger.journal.checks(MODEL)[0]["champion"] is None


def test_a_calm_model_leaves_a_row_that_can_be_plotted(served: Here) -> None:
    decision = monitor.check(served, MODEL, NOW, run_key="r1")
    assert decision.action == "nothing"
    row = served.ledger.journal.checks(MODEL)[0]
    assert (row["as_of"], row["run_key"], row["decision"]) == (NOW.isoformat(), "r1", decision.digest)
    assert row["requests"] == pytest.approx(6000 * 7 / 22, abs=2)
    assert abs(row["calibration_gap"]) < 0.05
    assert row["calibration_gap_low"] < row["calibration_gap"] < row["calibration_gap_high"]
    assert set(row["psi"]) == {"temp", "score", "carrier"}
    assert 0.4 < row["auc"] < 0.8
    assert served.ledger.journal.decision(decision.digest) == decision
    assert served.actions() == []


def test_the_log_says_when_the_check_was_done_and_as_of_when(served: Here) -> None:
    done, quiet = NOW + timedelta(days=4000), NOW + timedelta(days=3)
    monitor.check(served, MODEL, quiet, run_key="r1", now=done)
    _, event = served.ledger.journal.audit_log(MODEL)[-1]
    assert (event.action, event.at, event.detail["as_of"]) == ("drift.page", done, quiet.isoformat())
    assert {i.opened_at for _, _, i in served.ledger.journal.incidents(MODEL, open_only=True)} == {done}


def test_a_gap_asks_for_a_retraining_and_is_audited_once(served: Here) -> None:
    with_gap(served, 0.1)
    decision = monitor.check(served, MODEL, NOW, run_key="r1")
    assert decision.action == "retrain"
    assert monitor.check(served, MODEL, NOW, run_key="r1") == decision
    assert served.actions() == ["drift.retrain"]
    assert len(served.ledger.journal.decisions(MODEL, "governor")) == 1


def test_another_run_for_the_same_moment_does_not_ask_twice(served: Here) -> None:
    with_gap(served, 0.1)
    assert monitor.check(served, MODEL, NOW, run_key="r1").action == "retrain"
    assert monitor.check(served, MODEL, NOW, run_key="r2").action == "schedule"
    assert monitor.check(served, MODEL, NOW + timedelta(hours=1), run_key="r3").action == "schedule"
    assert [row["action"] for row in served.ledger.journal.checks(MODEL)] == ["retrain", "schedule"]


@pytest.mark.parametrize(("carried_out", "action"), [(False, "retrain"), (True, "schedule")])
def test_a_retraining_skipped_because_the_champion_changed_costs_no_cool_down(
    served: Here, carried_out: bool, action: str
) -> None:
    with_gap(served, 0.1)
    asked = monitor.check(served, MODEL, NOW, run_key="r1")
    parts = {"architecture": "a", "evidence": asked.digest if carried_out else "sha256:" + "9" * 64}
    served.crown(served.release(2, parts=parts))
    served.predictions.rows["version"] = 2
    assert monitor.check(served, MODEL, NOW + timedelta(hours=1), run_key="r2").action == action


def test_policies_beside_say_what_they_would_have_done_and_nobody_acts(served: Here) -> None:
    with_gap(served, 0.1)
    decision = monitor.check(served, MODEL, NOW, run_key="r1")
    row = served.ledger.journal.checks(MODEL)[0]
    assert row["dry_run"]["gain"]["action"] == "retrain"  # there is no estimate, and the gaps have added up by then
    assert "calibration gaps since the training add up to" in "; ".join(row["dry_run"]["gain"]["reasons"])
    assert len(served.ledger.journal.decisions(MODEL, "governor")) == 1
    assert row["decision"] == decision.digest
    assert served.actions() == ["drift.retrain"]


def test_a_step_that_cannot_be_measured_says_why_and_is_not_tried_again(served: Here) -> None:
    monitor.check(served, MODEL, NOW, run_key="r1")
    gains = served.ledger.journal.checks(MODEL)[0]["signals"]["gains"]
    estimates = [g["why"] for g in gains if g["name"] == "retraining_gain"]
    assert estimates == ["version 1 does not name the frame that it was trained on"] * 2
    assert [g["name"] for g in gains[:3]] == ["step_gap"] * 3  # the first step has a gap, and no newer fit
    monitor.check(served, MODEL, NOW + timedelta(hours=1), run_key="r2")
    assert served.ledger.journal.checks(MODEL)[1]["signals"]["gains"] == gains


def test_none_while_a_retraining_runs_or_a_rollout_is_open(served: Here) -> None:
    with_gap(served, 0.1)
    assert monitor.check(served, MODEL, NOW, run_key="r1", retraining_open=True).action == "watch"
    served.ledger.rollouts.open("ro-1", MODEL, served.release(2).digest, {}, START)
    decision = monitor.check(served, MODEL, NOW, run_key="r2")
    assert decision.action == "watch"
    assert "ro-1" in decision.summary


def slow_and_few(rows: pd.DataFrame) -> pd.DataFrame:
    """Quick answers in the first week; slow ones, and a quarter as many, on the last day, whose week was worse too."""
    rows = rows.assign(latency_ms=np.random.default_rng(3).lognormal(0, 0.3, len(rows)))
    last = rows.event_time >= NOW - timedelta(days=1)
    rows.loc[last, "latency_ms"] *= 3
    rows.loc[(rows.carrier == "UA") & (rows.event_time >= NOW - timedelta(days=9)), "score"] = 0.9
    return rows[~last | (np.arange(len(rows)) % 4 == 0)]


def test_worse_answers_of_a_slice_slower_ones_and_missing_requests_are_watched(served: Here) -> None:
    served.predictions.rows = slow_and_few(requests(60_000, START, NOW - START))
    decision = monitor.check(served, MODEL, NOW, run_key="r1")
    failed = {v.check: v for v in decision.verdicts if v.outcome is Outcome.FAILED}
    assert {"quality", "operations", "upstream"} <= set(failed)
    assert "logloss_rise of carrier=UA" in failed["quality"].reason
    assert "slower than the baseline" in failed["operations"].reason
    assert "more than 50% away" in failed["upstream"].reason
    row = served.ledger.journal.checks(MODEL)[0]
    assert row["drops"]["logloss_rise carrier=UA"] > 0.1
    assert (row["verdicts"]["operations"], row["latency_p95_ms"] > 3) == ("failed", True)
    assert not {i for i in served.open_incidents() if "operations" in i or "upstream" in i}


def test_answers_that_fail_are_watched_and_what_nobody_counted_is_unknown(served: Here) -> None:
    decision = monitor.check(served, MODEL, NOW, run_key="r1")
    (verdict,) = (v for v in decision.verdicts if v.check == "usage")
    assert (decision.action, verdict.outcome) == ("nothing", Outcome.INCONCLUSIVE)
    assert "replicas counted 0 of" in verdict.reason
    served.predictions.rows = rows = requests(60_000, START, NOW - START)
    served.predictions.counted = counts(rows, failing=0.05, since=NOW - timedelta(days=1))
    shutil.rmtree(served.settings.home / "profiles" / MODEL / "first-week")
    decision = monitor.check(served, MODEL, NOW + timedelta(minutes=20), run_key="r2")
    assert decision.action == "watch"
    assert any(r.startswith("failed answers 4.2") for r in decision.reasons)
    assert served.ledger.journal.decision(decision.digest) == decision
    row = served.ledger.journal.checks(MODEL)[-1]
    assert (row["action"], row["verdicts"]["usage"]) == ("watch", "failed")
    assert row["error_rate"] == pytest.approx(0.042, abs=0.001)
    assert (row["memory_mb"], row["cpu_us_per_row"]) == (300.0, {"call_rows=1": pytest.approx(30.0)})


def test_the_first_week_is_measured_once_and_again_where_the_file_is_damaged(served: Here) -> None:
    first = monitor.check(served, MODEL, NOW, run_key="r1")
    (kept,) = (served.settings.home / "profiles" / MODEL / "first-week").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    assert monitor.check(served, MODEL, NOW, run_key="r2").verdicts == first.verdicts
    assert kept.read_bytes() == whole


def test_before_the_first_week_is_over_what_is_beside_it_is_unknown(served: Here) -> None:
    decision = monitor.check(served, MODEL, START + timedelta(days=9))
    found = {v.check: v for v in decision.verdicts}
    assert {found[c].outcome for c in ("quality", "operations", "upstream")} == {Outcome.INCONCLUSIVE}
    assert "are not over" in found["quality"].reason + found["upstream"].reason


def test_the_champions_own_evaluation_is_the_baseline_where_there_is_one(served: Here) -> None:
    from modelyard.evaluation.evidence import Evidence
    from modelyard.flows import evaluate, gate

    champion = served.ledger.releases.champion(MODEL)
    assert champion is not None
    window = Window(start=START - timedelta(days=7), end=START)
    about = {"n": 3000, "window": window, "subject": champion.digest}
    kept = Evidence(
        model=MODEL, release=champion.digest, champion=None, as_of=START, snapshot=champion.snapshot, window=window,
        rows="sha256:" + "1" * 64,
        measurements=(
            Measurement(name="accuracy", value=0.99, low=0.985, high=0.995, **about),
            Measurement(name="importance", value=0.1, slice="feature=temp", **about),
        ),
    )  # fmt: skip
    evaluate._write(evaluate._uri(served, MODEL, kept.digest), kept.to_json().encode())
    served.ledger.journal.decide(gate.decide(served, champion, kept.digest, START))
    decision = monitor.check(served, MODEL, NOW)
    found = {v.check: v for v in decision.verdicts}
    assert found["quality"].outcome is Outcome.FAILED
    assert "accuracy_drop +2" in found["quality"].reason  # from 99% to about 70%
    assert "every feature matters" in found["shift"].reason


def test_labels_not_yet_known_are_not_used(served: Here) -> None:
    with_gap(served, 0.1)
    served.predictions.rows["label_at"] = pd.Timestamp(NOW + timedelta(days=1))
    decision = monitor.check(served, MODEL, NOW)
    assert decision.action == "page"
    assert "labels are missing: no outcome ever came" in decision.summary


def test_answers_of_another_version_say_nothing_of_the_champion(served: Here) -> None:
    with_gap(served, 0.1)
    served.predictions.rows["version"] = 2
    assert monitor.check(served, MODEL, NOW).action == "watch"


def test_silence_is_an_incident_until_traffic_comes_back(served: Here) -> None:
    quiet = NOW + timedelta(hours=30)
    decision = monitor.check(served, MODEL, quiet)
    assert decision.action == "page"
    assert "no traffic" in decision.summary
    assert TRAFFIC in served.open_incidents()
    monitor.check(served, MODEL, quiet + timedelta(hours=1))
    assert served.open_incidents().count(TRAFFIC) == 1
    served.predictions.rows = requests(9000, START, quiet + timedelta(hours=2) - START)
    monitor.check(served, MODEL, quiet + timedelta(hours=2))
    assert TRAFFIC not in served.open_incidents()


def test_looking_back_at_a_moment_ignores_what_came_later(served: Here) -> None:
    before = NOW - timedelta(days=8)
    alone = monitor.check(served, MODEL, before, run_key="r1")
    served.predictions.rows = served.predictions.rows[served.predictions.rows.event_time < before]
    again = monitor.check(served, MODEL, before, run_key="r2")
    assert again.evidence == alone.evidence


def test_a_moment_before_the_champion_was_trained_cannot_be_judged(served: Here) -> None:
    with pytest.raises(EvidenceMissing, match="was trained as of"):
        monitor.check(served, MODEL, START - timedelta(days=1))


def test_broken_inputs_page_and_forbid_a_retraining(served: Here) -> None:
    with_gap(served, 0.1)
    served.predictions.rows["temp"] = np.nan
    decision = monitor.check(served, MODEL, NOW)
    assert decision.action == "page"
    assert "missing_rise of temp 1.000" in decision.summary
    assert f"drift:{MODEL}:inputs" in served.open_incidents()


def test_a_vanished_column_is_a_broken_input(served: Here) -> None:
    served.predictions.rows = served.predictions.rows.drop(columns="temp")
    assert monitor.check(served, MODEL, NOW).action == "page"


def test_a_damaged_bundle_is_an_error_and_no_decision(served: Here) -> None:
    champion = served.ledger.releases.champion(MODEL)
    assert champion is not None
    folder = Path(served.ledger.releases.bundle(champion.digest).removeprefix("file://"))
    (folder / "profile.json").write_text("{}")
    with pytest.raises(IntegrityError):
        monitor.check(served, MODEL, NOW)
    assert served.ledger.journal.checks(MODEL) == []


def test_the_real_log_without_any_file_is_silence(served: Here, tmp_path: Path) -> None:
    served.predictions = ParquetPredictions(tmp_path / "nothing")  # type: ignore[assignment]
    decision = monitor.check(served, MODEL, NOW)
    assert decision.action == "page"
    assert "no request was ever logged" in decision.summary


def test_the_explanation_names_every_check(served: Here) -> None:
    text = monitor.explain(monitor.check(served, MODEL, NOW))
    for part in (
        "2013-05-01 00:00 UTC: nothing",
        "traffic",
        "labels",
        "inputs",
        "shift",
        "calibration",
        "policy sha256",
    ):
        assert part in text


class TestReport:
    def test_draws_our_numbers_once_from_bounded_samples(self, served: Here) -> None:
        from modelyard.adapters.evidently_report import EvidentlyReports

        served.reports = EvidentlyReports()
        path = monitor.report(served, MODEL, NOW, features(20_000).assign(score=0.3))
        page = path.read_text()
        assert path == served.settings.home / "docs" / "drift" / MODEL / "2013-05-01T0000Z.html"
        assert "PSI (Modelyard" in page
        assert "flight_delay v1" in page
        changed = path.stat().st_mtime_ns
        assert monitor.report(served, MODEL, NOW, features(10)).stat().st_mtime_ns == changed

    def test_without_a_champion_there_is_nothing_to_draw(self, platform: Here) -> None:
        with pytest.raises(NotFound, match="champion"):
            monitor.report(platform, MODEL, NOW, features(10))
