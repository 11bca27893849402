"""The picture of past checks: what it shows, and that a check without evidence leaves a hole."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.core.errors import EvidenceMissing
from modelyard.flows.history_plot import _series, plot_history


def check(hour: int, action: str = "nothing", **over: object) -> dict[str, object]:
    values = {"calibration_gap": 0.02, "calibration_gap_low": 0.0, "calibration_gap_high": 0.04, "logloss": 0.5}
    return {"as_of": f"2013-05-01T{hour:02d}:00:00+00:00", "action": action, "psi": {"temp": 3.0}, **values, **over}


def test_every_feature_and_each_action_is_named(tmp_path: Path) -> None:
    checks = [check(1), check(2, "retrain"), check(3, "watch", calibration_gap=None, psi={"dewp": None})]
    plot_history("flight_delay", checks, tmp_path / "history.svg")
    page = (tmp_path / "history.svg").read_text()
    for part in ("flight_delay", "temp", "dewp", "retrain (1)", "watch (1)", "page (0)"):
        assert part in page


def test_what_was_not_measured_is_a_hole() -> None:
    before, hole = _series([check(1), check(2, calibration_gap=None)], "calibration_gap")
    assert before == 0.02
    assert hole != hole


def test_without_checks_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(EvidenceMissing, match="has not been checked yet"):
        plot_history("flight_delay", [], tmp_path / "history.svg")
