"""Failed answers, processor time and memory beside the first week: found where planted, unknown where not counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from modelyard.core.verdict import Decision, Measurement, Outcome, Verdict
from modelyard.core.window import Window
from modelyard.drift.policy import OperationsRule
from modelyard.drift.usage import advised, judge_usage, measure_usage, ratio, whole_hours
from modelyard.ports.predictions import HourUse, VersionUse

START = datetime(2013, 4, 9, tzinfo=UTC)
RULE = OperationsRule()


def hours(
    n: int = 24,
    *,
    failing: float = 0.01,
    cpu_us: float = 30.0,
    memory: float | None = 300.0,
    each: int = 400,
    sizes: tuple[int, ...] = (1,),
    seed: int = 0,
) -> list[HourUse]:
    """Hours that share their load: processor time and failures differ from hour to hour."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        slow = rng.lognormal(0, 0.05)
        spent = tuple(
            # The larger the call the less a row takes: half as much at 4 rows.
            VersionUse(version=1, size=s, calls=20, rows=20 * s, cpu_s=20 * s * cpu_us * slow / (s**0.5) * 1e-6)
            for s in sizes
        )
        failed = int(rng.binomial(each, min(failing * rng.lognormal(0, 0.2), 1.0)))
        found.append(
            HourUse(
                hour=START + timedelta(hours=i), requests=each, failed=failed, rows=each - failed,
                memory_mb=None if memory is None else memory + rng.normal(0, 5), spent=spent,
            )
        )  # fmt: skip
    return found


def measured(counts: list[HourUse], *, logged: int | None = None, baseline: bool = False) -> list[Measurement]:
    window = Window(start=START, end=START + timedelta(hours=24))
    rows = sum(h.rows for h in counts) if logged is None else logged
    found = measure_usage(counts, window=window, version=1, logged=rows, min_rows=500)
    return [m.model_copy(update={"variant": "baseline"}) if baseline else m for m in found]


def judged(now: list[HourUse], then: list[HourUse] | None = None, *, logged: int | None = None) -> Verdict:
    before = hours(168, seed=99) if then is None else then
    return judge_usage([*measured(now, logged=logged), *measured(before, baseline=True)], RULE)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"failing": 0.03}, "failed answers"),
        ({"cpu_us": 45.0}, "processor time per row"),
        ({"memory": 400.0}, "memory"),
    ],
)
def test_what_has_risen_is_named_and_asks_for_a_look_only(changed: dict[str, float], said: str) -> None:
    verdict = judged(hours(**changed))  # type: ignore[arg-type]
    assert (verdict.outcome, verdict.blocks) == (Outcome.FAILED, False)
    assert verdict.reason.startswith(said)
    assert ";" not in verdict.reason


def test_the_same_again_does_not_cry_wolf() -> None:
    outcomes = [judged(hours(seed=seed)).outcome for seed in range(200)]
    assert outcomes.count(Outcome.FAILED) == 0


def test_one_failed_answer_after_a_spotless_week_is_no_alarm() -> None:
    now = hours(failing=0)
    now[3] = now[3].model_copy(update={"failed": 1})
    verdict = judged(now, hours(168, failing=0))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "perhaps more" in verdict.reason


def test_a_total_outage_fails_though_nothing_is_logged() -> None:
    assert judged(hours(failing=9.0), logged=0).outcome is Outcome.FAILED


def test_less_traffic_in_smaller_calls_is_not_dearer() -> None:
    """A row costs twice as much in a call of one as in one of four: the mix has changed, the version has not."""
    assert judged(hours(sizes=(1,), seed=99), hours(168, sizes=(1, 4), seed=99)).outcome is Outcome.SUCCESSFUL
    assert judged(hours(sizes=(1,), cpu_us=45.0), hours(168, sizes=(1, 4))).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("now", "logged", "why"),
    [
        ([], 10_000, "replicas counted 0 of 10000 logged answers"),
        (hours(), 20_000, "of 20000 logged answers"),
        (hours(2), None, "in 2 hours"),
        (hours(each=10), None, "240 requests counted"),
        (hours(memory=None), None, "memory unknown"),
        (hours(sizes=()), None, "no 30 calls of version 1"),
        (hours(sizes=(8,)), None, "calls are of other sizes than then"),
    ],
)
def test_what_is_missing_is_said_to_be(now: list[HourUse], logged: int | None, why: str) -> None:
    verdict = judged(now, logged=logged)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert why in verdict.reason


def test_without_a_baseline_nothing_is_fine() -> None:
    verdict = judge_usage(measured(hours()), RULE)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason.count("of the baseline unknown: not measured") == 3


def test_replicas_add_up_and_the_largest_memory_counts() -> None:
    two = [*hours(memory=300.0), *hours(memory=500.0)]
    errors, cpu, memory = measured(two)
    assert errors.n == 2 * 24 * 400
    assert cpu.n == 2 * 24 * 20
    assert memory.value == pytest.approx(500, abs=5)


def test_the_interval_of_a_ratio_is_kept() -> None:
    """95% of 400 intervals hold the truth where hours share their load; 91% to 98% are found."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        rows = rng.integers(200, 600, 60).astype(float)
        _, (low, high) = ratio(rows * 30 * rng.lognormal(-0.005, 0.1, 60), rows)
        held += low <= 30 <= high
    assert 364 <= held <= 392


@pytest.mark.parametrize(
    ("start", "end", "whole"),
    [("10:00", "13:00", ("10:00", "13:00")), ("10:20", "13:40", ("11:00", "13:00")), ("10:20", "11:40", None)],
)
def test_hours_covered_in_part_are_left_out(start: str, end: str, whole: tuple[str, str] | None) -> None:
    def at(clock: str) -> datetime:
        return datetime.fromisoformat(f"2013-04-09T{clock}:00+00:00")

    found = whole_hours(Window(start=at(start), end=at(end)))
    assert found == (None if whole is None else Window(start=at(whole[0]), end=at(whole[1])))


def decision(action: str) -> Decision:
    return Decision(
        kind="governor",
        action=action,
        model="m",
        subject="m",
        reasons=("calm",),
        policy="sha256:" + "0" * 64,
        as_of=START,
    )


@pytest.mark.parametrize(
    ("action", "failing", "after", "reasons"),
    [("nothing", 0.03, "watch", 1), ("watch", 0.03, "watch", 2), ("retrain", 0.03, "retrain", 1),
     ("nothing", 0.01, "nothing", 1)],
)  # fmt: skip
def test_a_look_is_asked_for_and_nothing_stronger_is_changed(
    action: str, failing: float, after: str, reasons: int
) -> None:
    made = advised(decision(action), judged(hours(failing=failing)))
    assert (made.action, len(made.reasons), len(made.verdicts)) == (after, reasons, 1)
