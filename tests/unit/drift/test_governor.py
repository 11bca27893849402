"""The governor: which day it fires on, that it stays silent, and everything that holds it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from modelyard.core.verdict import Decision, Measurement, Outcome
from modelyard.core.window import Window
from modelyard.drift.gain import GAIN
from modelyard.drift.governor import CALIBRATION, History, Past, Signals, decide
from modelyard.drift.policy import CalibrationRule, DriftPolicy, GainRule, Restraint, Windows

CHAMPION, NEXT = "sha256:" + "a" * 64, "sha256:" + "b" * 64
START = datetime(2013, 4, 9, tzinfo=UTC)
NOW = datetime(2013, 5, 1, tzinfo=UTC)
POLICY = DriftPolicy()


def gap(value: float | None, *, at: datetime = NOW, n: int = 6000, half: float = 0.015) -> Measurement:
    low, high = (None, None) if value is None else (value - half, value + half)
    why = "" if value is not None else "no label has come yet for any of 600 requests"
    window = Window.last(timedelta(days=7), at)
    return Measurement(name="calibration_gap", value=value, low=low, high=high, n=n, why=why, window=window)


def coverage(value: float = 0.97) -> Measurement:
    return Measurement(name="label_coverage", value=value, n=6000)


def an_input(name: str, value: float, feature: str = "temp", n: int = 6000) -> Measurement:
    return Measurement(name=name, value=value, n=n, slice=f"feature={feature}")


CALM = (an_input("psi", 0.03), an_input("missing_rise", 0.0), an_input("invalid_rate", 0.0))


def signals(*gaps: float | None, at: datetime = NOW, inputs: tuple[Measurement, ...] = CALM, **over: object) -> Signals:
    values = {
        "model": "flight_delay",
        "champion": CHAMPION,
        "as_of": at,
        "trained_until": START,
        "newest": at - timedelta(minutes=20),
        "newest_label": at - timedelta(minutes=30),
        "requests": 6000,
        "quality": (coverage(), *(gap(g, at=at - timedelta(days=i)) for i, g in enumerate(gaps))),
        "inputs": inputs,
    }
    return Signals.model_validate(values | over)


def run(*gaps: float | None, history: History | None = None, policy: DriftPolicy = POLICY, **over: object) -> Decision:
    given = signals(*gaps, **over)  # type: ignore[arg-type]
    return decide(given, history or History(), policy, given.as_of)


def asked(at: datetime, champion: str = CHAMPION) -> Past:
    return Past(at=at, action="retrain", champion=champion)


class TestDetection:
    def drive(self, gaps: list[float], policy: DriftPolicy = POLICY) -> list[str]:
        """Check once a day over daily gaps; a window's gap is the mean of its last seven days."""
        rng = np.random.default_rng(7)
        daily = np.array(gaps) + rng.normal(0, 0.015, len(gaps))
        past: list[Past] = []
        actions = []
        for day in range(10, len(daily)):
            at = START + timedelta(days=day)
            means = [float(daily[day - i - 7 : day - i].mean()) for i in range(3)]
            decision = run(*means, at=at, history=History(past=tuple(past)), policy=policy)
            past.append(Past(at=at, action=decision.action, champion=CHAMPION))
            actions.append(decision.action)
        return actions

    def test_silent_for_a_year_on_a_stable_stream(self) -> None:
        assert set(self.drive([0.01] * 365)) == {"nothing"}

    def test_fires_within_a_week_of_an_abrupt_shift_and_once_per_cool_down(self) -> None:
        actions = self.drive([0.0] * 40 + [0.10] * 20)
        assert [i for i, a in enumerate(actions) if a == "retrain"] == [35, 42, 49]  # days 45, 52, 59
        assert "schedule" in actions

    def test_one_bad_day_is_no_reason(self) -> None:
        assert "retrain" not in self.drive([0.0] * 30 + [0.25] + [0.0] * 30)

    def test_seasonal_inputs_alone_never_retrain_in_38_weeks(self) -> None:
        warm = (an_input("psi", 8.0, "temp"), an_input("psi", 3.0, "dewp"))
        for week in range(38):
            decision = run(0.01, 0.0, -0.01, at=NOW + timedelta(weeks=week), inputs=warm)
            assert decision.action == "watch"
            assert "temp 8.00" in decision.summary


class TestReasons:
    def test_a_retraining_quotes_numbers_and_bounds(self) -> None:
        decision = run(0.072, 0.064, 0.02)
        assert decision.action == "retrain"
        text = decision.summary
        for part in ("0.05", "+0.072", "+0.064", "n = 6000", "2 of 3", "0 of 4 retrainings"):
            assert part in text

    def test_too_low_is_as_bad_as_too_high(self) -> None:
        assert run(-0.07, -0.06, -0.01).action == "retrain"

    def test_gaps_of_opposite_sign_do_not_add_up(self) -> None:
        decision = run(0.07, -0.07, 0.0)
        assert decision.action == "watch"
        assert "beyond 0.05 in 2 of 3 windows" in decision.summary

    def test_one_window_beyond_the_bound_is_not_told_as_within(self) -> None:
        decision = run(0.07, 0.01, 0.0)
        assert decision.action == "watch"
        assert "beyond 0.05 in 1 of 3 windows" in decision.summary
        assert "within" not in decision.summary

    def test_an_interval_that_holds_zero_is_no_evidence_of_a_gap(self) -> None:
        wide = tuple(gap(0.08, half=0.1) for _ in range(3))
        assert run(quality=(coverage(), *wide)).action == "watch"

    def test_the_bound_itself_does_not_exceed(self) -> None:
        assert run(0.05, 0.05, 0.05).action == "nothing"

    def test_the_same_evidence_gives_the_same_decision(self) -> None:
        assert run(0.07, 0.07, 0.0).digest == run(0.07, 0.07, 0.0).digest

    def test_the_decision_cites_its_signals_champion_and_policy(self) -> None:
        given = signals(0.0, 0.0, 0.0)
        decision = decide(given, History(), POLICY, NOW)
        assert decision.evidence == (given.digest, CHAMPION)
        assert decision.policy == POLICY.digest

    def test_signals_of_another_moment_are_refused(self) -> None:
        with pytest.raises(ValueError, match="cannot decide"):
            decide(signals(0.0), History(), POLICY, NOW + timedelta(hours=1))


def gains(*values: float | None, n: int = 6000) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(name="retraining_gain", value=v, n=n, why="" if v is not None else "no row of that week")
        for v in values
    )


class TestGain:
    POLICY = DriftPolicy(retrain_on="gain", gain=GainRule(allowance=0.001, retrain_above=0.01))

    def test_small_gains_add_up_to_a_retraining(self) -> None:
        said = [run(0.0, 0.0, 0.0, gains=gains(*[0.004] * n), policy=self.POLICY).action for n in range(1, 6)]
        assert said == ["nothing", "nothing", "nothing", "retrain", "retrain"]

    def test_gains_below_the_allowance_never_do(self) -> None:
        assert run(0.0, 0.0, 0.0, gains=gains(*[0.001] * 100), policy=self.POLICY).action == "nothing"

    def test_a_gap_that_a_retraining_would_not_mend_is_watched(self) -> None:
        decision = run(0.07, 0.07, 0.07, gains=gains(0.0, 0.0), policy=self.POLICY)
        assert decision.action == "watch"
        assert "calibration gap beyond 0.05" in decision.summary

    @pytest.mark.parametrize("given", [(), gains(None, None), gains(0.5, n=20)])
    def test_without_an_estimate_the_gap_decides(self, given: tuple[Measurement, ...]) -> None:
        decision = run(0.07, 0.07, 0.07, gains=given, policy=self.POLICY)
        assert decision.action == "retrain"
        assert "gain from retraining is unknown" in decision.summary
        assert run(0.0, 0.0, 0.0, gains=given, policy=self.POLICY).action == "watch"

    def test_where_the_gap_decides_the_gain_is_evidence_beside(self) -> None:
        decision = run(0.07, 0.07, 0.07, gains=gains(0.02, 0.02))
        assert decision.action == "retrain"
        assert "would have gained 0.0380" in decision.summary
        assert run(0.0, 0.0, 0.0, gains=gains(0.02, 0.02)).action == "nothing"

    @pytest.mark.parametrize("side", [1, -1])
    def test_gaps_of_its_own_that_add_up_ask_too_where_the_policy_listens(self, side: int) -> None:
        gaps = tuple(m.model_copy(update={"name": "step_gap"}) for m in gains(*[side * 0.05] * 3))
        listens = self.POLICY.model_copy(update={"gain": GainRule(gap_allowance=0.02, gap_above=0.08)})
        decision = run(0.0, 0.0, 0.0, gains=(*gaps, *gains(0.0, 0.0)), policy=listens)
        assert decision.action == "retrain"
        assert "calibration gaps since the training add up to 0.090" in decision.summary
        assert run(0.0, 0.0, 0.0, gains=(*gaps[:2], *gains(0.0)), policy=listens).action == "nothing"
        assert run(0.0, 0.0, 0.0, gains=(*gaps, *gains(0.0, 0.0)), policy=self.POLICY).action == "nothing"

    def test_gaps_on_few_labels_are_no_evidence(self) -> None:
        gaps = tuple(m.model_copy(update={"name": "step_gap"}) for m in gains(*[0.5] * 3, n=20))
        listens = self.POLICY.model_copy(update={"gain": GainRule(gap_above=0.08)})
        assert run(0.0, 0.0, 0.0, gains=(*gaps, *gains(0.0)), policy=listens).action == "nothing"

    def test_it_is_restrained_like_any_other(self) -> None:
        history = History(retraining_open=True)
        assert run(0.0, 0.0, 0.0, gains=gains(0.1), policy=self.POLICY, history=history).action == "watch"

    def test_without_estimates_there_is_no_such_verdict(self) -> None:
        assert GAIN not in {v.check for v in run(0.0, 0.0, 0.0).verdicts}


class TestRestraint:
    def test_none_while_one_runs(self) -> None:
        decision = run(0.07, 0.07, 0.07, history=History(retraining_open=True))
        assert decision.action == "watch"
        assert "already running" in decision.summary

    def test_none_while_a_rollout_is_open(self) -> None:
        decision = run(0.07, 0.07, 0.07, history=History(rollout_open="r-17"))
        assert decision.action == "watch"
        assert "r-17" in decision.summary

    def test_the_cool_down_counts_from_the_last_one_also_of_another_champion(self) -> None:
        last = NOW - timedelta(hours=100)
        decision = run(0.07, 0.07, 0.07, history=History(past=(asked(last, NEXT),)))
        assert decision.action == "schedule"
        assert "not before 2013-05-03T20:00Z" in decision.summary

    def test_the_first_days_of_a_new_version_are_no_evidence(self) -> None:
        second = NOW - timedelta(days=8)  # where the second of two needed windows begins
        assert run(0.07, 0.07, 0.07, trained_until=second).action == "retrain"
        decision = run(0.07, 0.07, 0.07, trained_until=second + timedelta(seconds=1))
        assert decision.action == "watch"
        assert "all of its 168 h after the training" in decision.summary

    def test_it_ends_on_the_hour(self) -> None:
        history = History(past=(asked(NOW - timedelta(hours=168)),))
        assert run(0.07, 0.07, 0.07, history=history).action == "retrain"

    def test_a_spent_budget_pages_a_person(self) -> None:
        past = tuple(asked(NOW - timedelta(days=d)) for d in (29, 22, 15, 8))
        decision = run(0.07, 0.07, 0.07, history=History(past=past))
        assert decision.action == "page"
        assert "4 retrainings in 30 days, the budget is 4" in decision.summary

    def test_older_ones_are_free_again(self) -> None:
        past = tuple(asked(NOW - timedelta(days=d)) for d in (31, 22, 15, 8))
        assert run(0.07, 0.07, 0.07, history=History(past=past)).action == "retrain"

    def test_after_a_retraining_the_gap_must_come_back_further_to_be_settled(self) -> None:
        history = History(past=(asked(NOW - timedelta(days=1)),))
        assert run(0.04, 0.04, 0.04, history=history).action == "watch"
        assert run(0.02, 0.04, 0.04, history=history).action == "nothing"
        assert run(0.04, 0.04, 0.04).action == "nothing"

    def test_a_new_champion_starts_with_a_clean_slate(self) -> None:
        history = History(past=(asked(NOW - timedelta(days=1), NEXT),))
        assert run(0.04, 0.04, 0.04, history=history).action == "nothing"


class TestNoEvidence:
    def test_without_a_champion_there_is_nothing_to_watch(self) -> None:
        decision = run(champion=None)
        assert decision.action == "nothing"
        assert "no champion" in decision.summary

    def test_no_traffic_is_said_and_paged_and_is_never_no_drift(self) -> None:
        decision = run(requests=0, newest=NOW - timedelta(hours=30), quality=(), inputs=())
        assert decision.action == "page"
        assert "last request at 2013-04-29T18:00Z, 30.0 h before" in decision.summary
        assert "at most 24 h" in decision.summary

    def test_a_log_that_was_never_written_is_counted_from_the_training(self) -> None:
        fresh = START + timedelta(hours=3)
        assert run(at=fresh, requests=0, newest=None, newest_label=None, quality=(), inputs=()).action == "watch"
        assert run(requests=0, newest=None, newest_label=None, quality=(), inputs=()).action == "page"

    def test_labels_that_stopped_are_an_incident(self) -> None:
        decision = run(0.0, 0.0, 0.0, newest_label=NOW - timedelta(hours=49))
        assert decision.action == "page"
        assert "quality is unknown" in decision.summary

    def test_labels_that_are_late_are_watched(self) -> None:
        decision = run(None, None, None, at=START + timedelta(hours=5), newest_label=None)
        assert decision.action == "watch"
        assert "calibration is unknown" in decision.summary

    def test_too_few_labels_never_retrain(self) -> None:
        few = tuple(gap(0.4, n=999) for _ in range(3))
        assert run(quality=(coverage(), *few)).action == "watch"

    @pytest.mark.parametrize(("name", "value"), [("missing_rise", 0.5), ("unseen_rate", 0.4), ("invalid_rate", 0.05)])
    def test_broken_inputs_page_and_forbid_a_retraining(self, name: str, value: float) -> None:
        decision = run(0.1, 0.1, 0.1, inputs=(*CALM, an_input(name, value, "humid")))
        assert decision.action == "page"
        assert f"{name} of humid {value:.3f}" in decision.summary
        assert "no retraining on such data" in decision.summary

    def test_a_feature_may_be_left_out_by_policy(self) -> None:
        policy = POLICY.model_copy(update={"inputs": POLICY.inputs.model_copy(update={"ignore": ("humid",)})})
        broken = (*CALM, an_input("missing_rise", 0.9, "humid"))
        assert run(0.0, 0.0, 0.0, inputs=broken, policy=policy).action == "nothing"

    def test_a_handful_of_requests_says_nothing_about_inputs(self) -> None:
        few = (an_input("psi", 4.0, n=20), an_input("missing_rise", 0.9, n=20))
        decision = run(0.0, 0.0, 0.0, inputs=few)
        assert decision.action == "watch"
        assert "inputs are unknown" in decision.summary

    @pytest.mark.parametrize("gaps", [(0.07, None, None), (None, None, 0.07)])
    def test_one_window_with_evidence_does_not_suffice(self, gaps: tuple[float | None, ...]) -> None:
        decision = run(*gaps)
        assert decision.action == "watch"
        assert {v.check: v.outcome for v in decision.verdicts}[CALIBRATION] is Outcome.INCONCLUSIVE


class TestPolicy:
    def test_more_windows_than_there_are_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="needed = 4 windows of count = 3"):
            Windows(count=3, needed=4)

    def test_a_clearing_level_above_the_trigger_is_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"clear_at_most = 0\.06"):
            CalibrationRule(clear_at_most=0.06)

    def test_a_budget_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            Restraint(budget=0)
