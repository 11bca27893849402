"""The fixed bands, at their very ends, and what is said where nothing is known."""

from __future__ import annotations

import pytest

from modelyard.drift.bands import Bands


@pytest.mark.parametrize(
    ("drop", "step"),
    [(-0.1, "ok"), (0.0199, "ok"), (0.02, "monitor"), (0.0499, "monitor"), (0.05, "schedule_48h"),
     (0.08, "schedule_24h"), (0.1, "schedule_24h"), (0.1001, "retrain_now")],
)  # fmt: skip
def test_accuracy(drop: float, step: str) -> None:
    found = Bands().judge(psi=0.0, accuracy_drop=drop)
    assert found is not None
    assert found.step == step


def test_the_more_urgent_speaks() -> None:
    found = Bands().judge(psi=0.35, accuracy_drop=0.03)
    assert found is not None
    assert (found.step, found.reason) == ("retrain_now", "PSI 0.350")


def test_what_is_not_known_is_never_ok() -> None:
    assert Bands().judge(psi=None, accuracy_drop=None) is None
    for known in ({"psi": 0.01, "accuracy_drop": None}, {"psi": None, "accuracy_drop": 0.0}):
        found = Bands().judge(**known)  # type: ignore[arg-type]
        assert found is not None
        assert found.step == "monitor"
        assert "unknown" in found.reason


@pytest.mark.parametrize("ends", [(0.2, 0.1, 0.3), (0.1, 0.1, 0.3), (0.0, 0.1, 0.2)])
def test_bands_that_make_no_sense_are_refused(ends: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be positive and increase"):
        Bands(psi=ends)
