"""Quality beside the baseline, latency, upstream, importance: found where planted, silent and unknown elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from modelyard.core.verdict import Measurement, Outcome
from modelyard.core.window import Window
from modelyard.drift.bands import Bands
from modelyard.drift.concept import judge_quality, relative_drops
from modelyard.drift.importance import note, weights
from modelyard.drift.operations import judge_operations, measure_latency
from modelyard.drift.policy import OperationsRule, QualityRule, UpstreamRule
from modelyard.drift.upstream import judge_upstream, measure_landing, measure_schema, measure_volume

START = datetime(2013, 4, 9, tzinfo=UTC)
DAY = Window(start=START, end=START + timedelta(days=1))


def measured(
    name: str, value: float | None, half: float | None = 0.005, *, n: int = 6000, where: str = ""
) -> Measurement:
    bounds = {} if value is None or half is None else {"low": value - half, "high": value + half}
    why = "" if value is not None else "no label has come yet for any of 600 requests"
    return Measurement(name=name, value=value, n=n, slice=where, why=why, **bounds)


def quality(accuracy: float | None, half: float = 0.005, slices: tuple[Measurement, ...] = ()) -> Outcome:
    before = (measured("accuracy", 0.8), *(measured("logloss", 0.5, None, where=m.slice) for m in slices))
    return judge_quality([measured("accuracy", accuracy, half)], slices, before, QualityRule(), Bands()).outcome


class TestQuality:
    def test_a_drop_is_relative_and_its_interval_has_both_sides_noise(self) -> None:
        (drop,) = relative_drops([measured("accuracy", 0.76)], [measured("accuracy", 0.8)])
        assert drop.value == pytest.approx(0.05)
        radius = np.hypot(0.005 / 0.8, 0.76 * 0.005 / 0.8**2)
        assert (drop.low, drop.high) == (pytest.approx(0.05 - radius), pytest.approx(0.05 + radius))

    def test_loss_that_rises_is_worse_too(self) -> None:
        (rise,) = relative_drops([measured("logloss", 0.55)], [measured("logloss", 0.5)])
        assert (rise.name, rise.value) == ("logloss_rise", pytest.approx(0.1))

    @pytest.mark.parametrize(
        ("accuracy", "half", "outcome"),
        [(0.8, 0.005, Outcome.SUCCESSFUL), (0.76, 0.005, Outcome.FAILED), (0.76, 0.1, Outcome.SUCCESSFUL),
         (0.79, 0.001, Outcome.SUCCESSFUL), (None, 0.005, Outcome.INCONCLUSIVE)],
    )  # fmt: skip
    def test_only_a_sure_drop_beyond_the_first_band_fails(self, accuracy: float, half: float, outcome: Outcome) -> None:
        assert quality(accuracy, half) is outcome

    def test_without_a_baseline_it_is_unknown_and_says_why(self) -> None:
        verdict = judge_quality([measured("auc", 0.7)], (), [measured("auc", None)], QualityRule(), Bands())
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert "baseline: no label has come yet" in verdict.reason

    def test_a_slice_that_got_worse_is_named_and_a_small_one_is_not_compared(self) -> None:
        assert quality(0.8, slices=(measured("logloss", 0.7, 0.05, where="carrier=UA"),)) is Outcome.FAILED
        assert quality(0.8, slices=(measured("logloss", 0.7, 0.05, n=299, where="carrier=UA"),)) is Outcome.SUCCESSFUL

    def test_many_slices_share_the_error_rate(self) -> None:
        noisy = [measured("logloss", 0.5 + 0.07, 0.045, where=f"dest={i}") for i in range(50)]
        assert quality(0.8, slices=tuple(noisy[:1])) is Outcome.FAILED
        assert quality(0.8, slices=tuple(noisy)) is Outcome.SUCCESSFUL


def answers(n: int, scale: float = 1.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = pd.DatetimeIndex([START + timedelta(days=1) * i / n for i in range(n)], tz="UTC")
    return pd.DataFrame({"event_time": times, "latency_ms": scale * rng.lognormal(0, 0.5, n)})


def slower(scale: float, n: int = 5000, seed: int = 1) -> Outcome:
    before, now = (measure_latency(answers(5000), window=DAY), measure_latency(answers(n, scale, seed), window=DAY))
    return judge_operations(now, before, OperationsRule()).outcome


class TestOperations:
    def test_much_slower_answers_fail_and_never_block(self) -> None:
        before, now = measure_latency(answers(5000), window=DAY), measure_latency(answers(5000, 1.5), window=DAY)
        verdict = judge_operations(now, before, OperationsRule())
        assert (verdict.outcome, verdict.blocks) == (Outcome.FAILED, False)

    def test_the_same_answers_do_not_cry_wolf(self) -> None:
        assert all(slower(1.0, seed=seed) is not Outcome.FAILED for seed in range(1, 101))

    def test_a_few_rows_never_do(self) -> None:
        assert all(slower(1.0, n=60, seed=seed) is not Outcome.FAILED for seed in range(1, 51))

    @pytest.mark.parametrize(
        "rows", [answers(5000).iloc[:0], answers(5000).iloc[:100], answers(9).drop(columns="latency_ms")]
    )
    def test_no_evidence_is_unknown(self, rows: pd.DataFrame) -> None:
        now = measure_latency(rows, window=DAY)
        verdict = judge_operations(now, measure_latency(answers(5000), window=DAY), OperationsRule())
        assert verdict.outcome is Outcome.INCONCLUSIVE


def upstream(today: int, *week: int, **rule: object) -> tuple[Outcome, str]:
    then = Measurement(
        name="requests_per_day", value=float(np.mean(week)), low=min(week), high=max(week), variant="baseline"
    )
    now = Measurement(name="requests_per_day", value=float(today))
    verdict = judge_upstream([now, then], UpstreamRule(**rule))  # type: ignore[arg-type]
    return verdict.outcome, verdict.reason


class TestUpstream:
    def test_volume_beyond_the_share_and_beyond_any_day_of_the_baseline_fails(self) -> None:
        assert upstream(40, 100, 90, 110)[0] is Outcome.FAILED
        assert upstream(60, 100, 90, 110)[0] is Outcome.SUCCESSFUL
        assert upstream(40, 200, 30, 130)[0] is Outcome.SUCCESSFUL  # such a day was there

    def test_volume_counts_days_of_the_window_only(self) -> None:
        found = measure_volume(answers(240), Window(start=START, end=START + timedelta(days=2)))
        assert (found.value, found.low, found.high, found.n) == (120.0, 0.0, 240.0, 240)

    def test_vanished_and_retyped_columns_are_named(self) -> None:
        rows = pd.DataFrame({"temp": ["warm"], "carrier": [3], "gust": [np.nan]})
        verdict = judge_upstream(measure_schema(rows, ["temp", "gust", "dewp"], ["carrier"]), UpstreamRule())
        assert verdict.outcome is Outcome.FAILED
        assert "vanished_columns 1 (dewp)" in verdict.reason
        assert "retyped_columns 2 (temp, carrier)" in verdict.reason

    def test_old_rows_fail_only_where_a_bound_is_set(self) -> None:
        age = measure_landing(START, START + timedelta(hours=50))
        assert judge_upstream([age], UpstreamRule()).outcome is Outcome.SUCCESSFUL
        assert judge_upstream([age], UpstreamRule(landing_hours=48)).outcome is Outcome.FAILED

    @pytest.mark.parametrize("newest", [None, START + timedelta(hours=1)])
    def test_nothing_landed_or_only_later_rows_is_unknown(self, newest: datetime | None) -> None:
        assert judge_upstream([measure_landing(newest, START)], UpstreamRule()).outcome is Outcome.INCONCLUSIVE

    def test_no_rows_have_no_schema(self) -> None:
        verdict = judge_upstream(measure_schema(pd.DataFrame(), ["temp"], []), UpstreamRule())
        assert verdict.outcome is Outcome.INCONCLUSIVE


class TestImportance:
    def test_weights_are_shares_of_the_largest(self) -> None:
        found = [Measurement(name="importance", value=v, slice=f"feature={f}") for f, v in (("a", 0.1), ("b", 0.001))]
        assert weights(found) == {"feature=a": 1.0, "feature=b": pytest.approx(0.01)}
        assert note(found, 0.02) == "of little importance and left out: b"

    def test_unmeasured_importance_is_said(self) -> None:
        assert note((), 0.02) == "importance was not measured: each feature weighs 1"


@pytest.mark.parametrize(
    ("rule", "values"),
    [(OperationsRule, {"latency_rise": 0}), (UpstreamRule, {"volume_change": -1}),
     (QualityRule, {"min_slice_labels": 1}), (UpstreamRule, {"volum_change": 0.5})],
)  # fmt: skip
def test_a_wrong_key_or_value_is_refused(rule: type, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        rule(**values)
