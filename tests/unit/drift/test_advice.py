"""What the governor makes of quality, operations, upstream and importance, and of the fixed bands where chosen."""

from __future__ import annotations

from datetime import timedelta

import pytest
from unit.drift.test_governor import CALM, CHAMPION, NOW, POLICY, START, an_input, coverage, gap, run

from modelyard.core.verdict import Measurement
from modelyard.drift.governor import History, Past

BANDED = POLICY.model_copy(update={"retrain_on": "bands"})
SLOW = (
    Measurement(name="latency_p95_ms", value=9.0, low=8.5, high=9.5, n=5000),
    Measurement(name="latency_p95_ms", value=3.0, low=2.9, high=3.1, n=5000, variant="baseline"),
)
GONE = (Measurement(name="vanished_columns", value=1.0, n=900, evidence="temp"),)
UNKNOWN = (Measurement(name="vanished_columns", value=None, why="no request in the window"),)
BEFORE = (Measurement(name="accuracy", value=0.8, low=0.79, high=0.81, n=5000),)


def accuracy(value: float) -> tuple[Measurement, ...]:
    now = Measurement(name="accuracy", value=value, low=value - 0.005, high=value + 0.005, n=6000)
    return (coverage(), now, *(gap(0.0, at=NOW - timedelta(days=i)) for i in range(3)))


@pytest.mark.parametrize(
    ("over", "check"),
    [({"operations": SLOW}, "slower"), ({"upstream": GONE}, "vanished_columns 1 (temp)"),
     ({"quality": accuracy(0.6), "baseline": BEFORE}, "quality is below the baseline")],
)  # fmt: skip
def test_each_asks_for_a_look_and_never_for_a_retraining(over: dict[str, object], check: str) -> None:
    decision = run(0.0, 0.0, 0.0, **over)
    assert decision.action == "watch"
    assert check in decision.summary


def test_what_is_unknown_of_them_asks_for_nothing_and_is_said() -> None:
    decision = run(0.0, 0.0, 0.0, upstream=UNKNOWN)
    assert decision.action == "nothing"
    assert "vanished_columns is unknown: no request in the window" in decision.summary


def test_drift_of_a_feature_that_does_not_matter_is_no_reason_to_look() -> None:
    moved = (*CALM, an_input("psi", 2.0, "humid"))
    matters = [
        Measurement(name="importance", value=v, slice=f"feature={f}") for f, v in (("temp", 0.1), ("humid", 0.001))
    ]
    assert run(0.0, 0.0, 0.0, inputs=moved).action == "watch"
    decision = run(0.0, 0.0, 0.0, inputs=moved, importance=matters)
    assert decision.action == "nothing"
    shift = next(v for v in decision.verdicts if v.check == "shift")
    assert "of little importance and left out: humid" in shift.reason


def test_a_broken_feature_pages_however_little_it_matters() -> None:
    broken = (*CALM, an_input("missing_rise", 0.9, "humid"))
    matters = [
        Measurement(name="importance", value=v, slice=f"feature={f}") for f, v in (("temp", 0.1), ("humid", 0.0))
    ]
    assert run(0.0, 0.0, 0.0, inputs=broken, importance=matters).action == "page"


class TestBands:
    def act(self, psi: float, value: float = 0.8, *past: Past) -> str:
        inputs = (*CALM, an_input("psi", psi, "humid"))
        given = {"inputs": inputs, "quality": accuracy(value), "baseline": BEFORE, "trained_until": START}
        return run(0.0, 0.0, 0.0, policy=BANDED, history=History(past=past), **given).action

    def test_each_band_has_its_action(self) -> None:
        assert self.act(0.05) == "nothing"
        assert self.act(0.15) == "watch"
        assert self.act(0.22) == "schedule"
        assert self.act(0.28) == "schedule"
        assert self.act(0.31) == "retrain"

    def test_so_has_the_loss_of_accuracy(self) -> None:
        assert self.act(0.05, 0.8 * 0.93) == "schedule"
        assert self.act(0.05, 0.8 * 0.89) == "retrain"

    def test_a_schedule_falls_due(self) -> None:
        asked = [Past(at=NOW - timedelta(hours=h), action="schedule", champion=CHAMPION) for h in range(1, 49)]
        assert self.act(0.28, 0.8, *asked[:23]) == "schedule"
        assert self.act(0.28, 0.8, *asked[:24]) == "retrain"
        assert self.act(0.22, 0.8, *asked[:47]) == "schedule"
        assert self.act(0.22, 0.8, *asked) == "retrain"

    def test_a_break_starts_the_hours_anew(self) -> None:
        asked = [Past(at=NOW - timedelta(hours=h), action="schedule", champion=CHAMPION) for h in range(1, 49)]
        calm = asked[10].model_copy(update={"action": "nothing"})
        assert self.act(0.28, 0.8, *asked[:10], calm, *asked[11:]) == "schedule"

    def test_the_cool_down_and_a_running_retraining_hold_it_back_too(self) -> None:
        assert self.act(0.9, 0.8, Past(at=NOW - timedelta(hours=5), action="retrain", champion=CHAMPION)) == "schedule"
        inputs = (*CALM, an_input("psi", 0.9, "humid"))
        busy = History(retraining_open=True)
        assert run(0.0, 0.0, 0.0, policy=BANDED, history=busy, inputs=inputs).action == "watch"

    def test_the_calibration_gap_alone_does_not_ask_there(self) -> None:
        assert run(0.1, 0.1, 0.1, policy=BANDED).action == "watch"
