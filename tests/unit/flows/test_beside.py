"""A policy beside the one in force is held back by its own past: cool-down, and a budget longer than the rows read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.gain import GAIN_MEASURED
from modelyard.drift.governor import History, Past, Signals
from modelyard.drift.policy import DriftPolicy
from modelyard.flows.beside import tried

START = datetime(2013, 5, 1, tzinfo=UTC)
CHAMPION = "sha256:" + "a" * 64
BESIDE: dict[str, Any] = {"retrain_on": "gain", "restraint": {"budget": 2, "budget_days": 365}}
POLICY = DriftPolicy(dry_run={"gain": BESIDE})


def signals(at: datetime) -> Signals:
    """A retraining would have gained much; the champion is old."""
    gain = Measurement(name=GAIN_MEASURED, value=0.1, n=5000, window=Window.last(timedelta(days=7), at))
    fresh = at - timedelta(hours=1)
    inputs = (Measurement(name="missing_rise", value=0.0, n=5000, slice="feature=temp"),)
    return Signals(
        model="m", champion=CHAMPION, as_of=at, newest=fresh, newest_label=fresh, requests=5000, gains=(gain,),
        inputs=inputs,
    )  # fmt: skip


def checked(days: list[float], history: History, keep_days: float = 30) -> list[dict[str, Any]]:
    """What is said at each of these moments, where only the rows of the last ``keep_days`` are read."""
    rows: list[dict[str, Any]] = []
    for day in days:
        at = START + timedelta(days=day)
        known = [r for r in rows if datetime.fromisoformat(r["as_of"]) >= at - timedelta(days=keep_days)]
        found = tried(signals(at), history, POLICY, known)
        rows.append({"as_of": at.isoformat(), "champion": CHAMPION, "dry_run": found})
    return [row["dry_run"]["gain"] for row in rows]


def test_it_waits_after_its_own_retraining_and_not_after_the_other_policys() -> None:
    other = Past(at=START - timedelta(hours=1), action="retrain", champion=CHAMPION)
    said = checked([0, 1, 6.9, 7], History(past=(other,)))
    assert [s["action"] for s in said] == ["retrain", "schedule", "schedule", "retrain"]


def test_a_budget_of_a_year_needs_no_year_of_rows() -> None:
    said = checked([*range(0, 361, 20), 366], History())
    assert [s["action"] for s in said] == ["retrain"] * 2 + ["page"] * 17 + ["retrain"]
    asked = [[a["at"] for a in s["asked"]] for s in (said[2], said[-1])]
    assert asked == [[(START + timedelta(days=d)).isoformat() for d in days] for days in ((0, 20), (20, 366))]


def test_what_was_said_at_this_moment_or_later_is_not_looked_at() -> None:
    asked = [{"at": START.isoformat(), "champion": CHAMPION}]
    said = {"gain": {"action": "retrain", "reasons": [], "asked": asked}}
    later = {"as_of": (START + timedelta(days=1)).isoformat(), "champion": CHAMPION, "dry_run": said}
    assert tried(signals(START), History(), POLICY, [later])["gain"]["action"] == "retrain"
