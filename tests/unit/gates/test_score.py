"""The score: thresholds by area, no reward for not measuring, bands that only choose who watches."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.core.readiness import supervision
from modelyard.core.verdict import Outcome, Severity, Verdict
from modelyard.gates.score import AREAS, Bands, ScorePolicy, Share, score_verdicts

RELEASE = "sha256:" + "a" * 64
POLICY: dict[str, Any] = {
    "weights": {"blocker": 5, "warning": 1, "informational": 0},
    "areas": {
        "code": {"weight": 0.15, "threshold": 85},
        "model_validation": {"weight": 0.30, "threshold": 90},
        "performance": {"weight": 0.25, "threshold": 85},
        "security": {"weight": 0.15, "threshold": 95},
        "integration": {"weight": 0.10, "threshold": 88},
        "end_to_end": {"weight": 0.05, "threshold": 95},
    },
    "threshold": 87,
    "bands": {"at_once": 95, "with_monitoring": 80, "with_a_person": 65},
}


def shares(**scores: float) -> list[Share]:
    """Two gates for each area, of which the first is earned: the area's score is its weight of 100."""
    full = dict.fromkeys(AREAS, 100.0) | scores
    return [
        Share(area=area, weight=weight, passed=passed)  # type: ignore[arg-type]
        for area, score in full.items()
        for weight, passed in ((score, True), (100 - score, False))
    ]


def judged(given: list[Share], *, blocked: bool = False, **over: Any) -> dict[str, Verdict]:
    policy = ScorePolicy.model_validate(POLICY | over)
    return {v.check: v for v in score_verdicts(policy, given, blocked, RELEASE)}


def low(score: float) -> dict[str, Any]:
    """Thresholds that let this score through."""
    areas = {name: area | {"threshold": score} for name, area in POLICY["areas"].items()}
    return {"areas": areas, "threshold": score}


@pytest.mark.parametrize("area", AREAS)
class TestAreas:
    def test_at_its_threshold_an_area_passes_and_below_it_blocks(self, area: str) -> None:
        least = POLICY["areas"][area]["threshold"]
        found = judged(shares(**{area: least}))[f"score_{area}"]
        assert (found.outcome, found.measurements[0].value) == (Outcome.SUCCESSFUL, least)
        found = judged(shares(**{area: least - 0.5}))[f"score_{area}"]
        assert (found.outcome, found.blocks) == (Outcome.FAILED, True)

    def test_without_evidence_it_does_not_pass_and_counts_as_nothing(self, area: str) -> None:
        given = [s for s in shares() if s.area != area]
        for shown in (given, [*given, Share(area=area, weight=0, passed=True)]):  # type: ignore[arg-type]
            verdicts = judged(shown)
            found = verdicts[f"score_{area}"]
            assert (found.outcome, found.blocks) == (Outcome.INCONCLUSIVE, True)
            assert found.measurements[0].value is None
            expected = 100 * (1 - POLICY["areas"][area]["weight"])
            assert verdicts["score_overall"].measurements[0].value == pytest.approx(expected)
            assert supervision(list(verdicts.values())) == "blocked"


def test_the_whole_has_a_threshold_of_its_own() -> None:
    verdicts = judged(shares(performance=85), threshold=97)
    assert verdicts["score_performance"].outcome is Outcome.SUCCESSFUL
    assert verdicts["score_overall"].outcome is Outcome.FAILED
    assert supervision(list(verdicts.values())) == "blocked"


@pytest.mark.parametrize(
    ("score", "band"),
    [(100, "at_once"), (95, "at_once"), (94.9, "with_monitoring"), (80, "with_monitoring"), (79.9, "with_a_person"),
     (65, "with_a_person"), (64.9, "blocked")],
)  # fmt: skip
def test_bands_choose_who_watches(score: float, band: str) -> None:
    verdicts = judged(shares(**dict.fromkeys(AREAS, score)), **low(60))
    assert supervision(list(verdicts.values())) == band
    found = verdicts["supervision"]
    # With a person nothing is blocked, and nothing is called passed either.
    assert found.blocks == (band == "blocked")
    assert (found.outcome is Outcome.SUCCESSFUL) == (band in ("at_once", "with_monitoring"))


def test_no_score_outweighs_a_blocker() -> None:
    verdicts = judged(shares(), blocked=True)
    assert verdicts["score_overall"].measurements[0].value == pytest.approx(100)
    assert verdicts["supervision"].blocks


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"areas": {k: v for k, v in POLICY["areas"].items() if k != "security"}}, "areas lack security"),
        ({"areas": POLICY["areas"] | {"code": {"weight": 0.5, "threshold": 85}}}, "add up to 1.35"),
        ({"bands": {"at_once": 80, "with_monitoring": 80, "with_a_person": 65}}, "bands fall"),
        ({"weights": {"blocker": 5, "warning": 1}}, "weights lack informational"),
        ({"weights": {"blocker": 5, "warning": -1, "informational": 0}}, "reward"),
    ],
)
def test_a_policy_that_would_let_things_through_is_refused(over: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScorePolicy.model_validate(POLICY | over)


def test_a_supervision_that_nobody_knows_is_refused() -> None:
    odd = Verdict(
        check="supervision", outcome=Outcome.SUCCESSFUL, reason="whenever: it suits", severity=Severity.WARNING
    )
    with pytest.raises(ValueError, match="whenever"):
        supervision([odd])
    assert supervision([]) is None


def test_bands_are_of_the_score_alone() -> None:
    assert Bands(at_once=95, with_monitoring=80, with_a_person=65).of(0) == "blocked"
