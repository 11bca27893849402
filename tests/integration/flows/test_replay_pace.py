"""How far the replay may run ahead of the drift checks, on a real ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import Engine

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.config.settings import Settings
from modelyard.demo.replay import AHEAD, too_far

START = datetime(2013, 4, 9, tzinfo=UTC)
MODEL = "flight_delay"
POLICY = """
default:
  windows: {length_hours: 168, settle_hours: 12, step_hours: 24, count: 3, needed: 2}
  calibration: {retrain_above: 0.05, clear_at_most: 0.03, min_labels: 1000}
  inputs: {watch_psi: 0.2, page_missing_rise: 0.3, page_unseen: 0.2, page_invalid: 0.01, min_rows: 500, ignore: []}
  silence: {traffic_hours: 24, label_hours: 48}
  restraint: {cooldown_hours: 168, budget: 4, budget_days: 30}
  report_rows: 5000
"""
JUDGED = START + timedelta(hours=168 + 24 + 12)


def test_the_replay_waits_for_checks_only_where_one_could_ask_for_anything(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "drift.yaml").write_text(POLICY)
    ledger = PostgresLedger(ledger_engine)
    settings = Settings.from_env({"MODELYARD_ROOT": str(tmp_path)})
    far = too_far(SimpleNamespace(settings=settings, ledger=ledger), MODEL, START)  # type: ignore[arg-type]
    assert not far(JUDGED - timedelta(hours=1))  # no window is whole yet
    assert far(JUDGED)
    ledger.journal.check(MODEL, JUDGED, {"as_of": JUDGED.isoformat()})
    assert not far(JUDGED + AHEAD)
    assert far(JUDGED + AHEAD + timedelta(hours=1))
    ledger.rollouts.open("r", MODEL, "sha256:" + "0" * 64, {"id": "r"}, JUDGED)
    assert not far(JUDGED + 10 * AHEAD)  # a check would only say that the rollout comes first
