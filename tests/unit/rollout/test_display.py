"""What people are shown is made from the record of the look, says what it is, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.rollouts import after, running, shipped_policy

from modelyard.core.verdict import Measurement
from modelyard.rollout import evidence
from modelyard.rollout.decide import decide
from modelyard.rollout.display import COLUMNS, LABEL, for_people, table
from modelyard.rollout.loss import Difference, measurements

QUALITY = shipped_policy().quality


def look(mean: float = -0.002, failed: int = 3) -> list[Measurement]:
    return [
        evidence.rate("challenger", failed, 500, 0.0, 0.05),
        evidence.rate("champion", 50, 9500, 0.0, 0.05),
        *measurements(Difference(mean, 0.0144, 2000, 0.004, 14.0, 14), 2000, QUALITY),
    ]


def test_the_numbers_are_those_of_the_data_behind_the_record() -> None:
    errors, loss = for_people(running(0), look())
    random = np.random.default_rng(1)
    rates = random.beta(4, 498, 400_000), random.beta(51, 9451, 400_000)
    assert errors.probability_better == pytest.approx((rates[0] < rates[1]).mean(), abs=3e-3)
    assert errors.expected_cost == pytest.approx(np.maximum(rates[0] - rates[1], 0).mean(), abs=2e-5)
    assert (errors.low, errors.high) == pytest.approx(tuple(np.quantile(rates[0], [0.025, 0.975])), abs=1e-4)
    assert errors.rows == 10_000
    error = 0.004
    assert (loss.low, loss.high) == pytest.approx((-0.002 - 1.96 * error, -0.002 + 1.96 * error), abs=1e-5)
    assert loss.probability_better == pytest.approx((random.normal(-0.002, error, 400_000) < 0).mean(), abs=3e-3)
    assert loss.rows_needed == 2512  # 1,131 of independent rows, times a design effect of 2.2


def test_worse_looks_worse() -> None:
    good, bad = (for_people(running(0), look(mean, failed)) for mean, failed in ((-0.01, 0), (0.01, 30)))
    for better, worse in zip(good, bad, strict=True):
        assert better.probability_better > 0.5 > worse.probability_better
        assert better.expected_cost < better.expected_cost_of_keeping
        assert worse.expected_cost > worse.expected_cost_of_keeping


def test_nothing_measured_is_said_to_be_unknown() -> None:
    for shown in for_people(running(0), []):
        assert shown.probability_better is None
        assert "yet" in shown.note
    assert all("unknown" in row for row in table(for_people(running(0), [])))
    one_day = measurements(Difference(0.0, 0.0144, 500, float("inf"), 1.0, 1), 500, QUALITY)
    assert "single block" in for_people(running(0), one_day)[1].note
    assert for_people(running(0, champion=None, strategy="first"), []) == ()


def test_it_is_labelled_and_fits_its_table() -> None:
    shown = for_people(running(0), look())
    assert all(s.note == LABEL for s in shown)
    assert {len(row) for row in table(shown)} == {len(COLUMNS)}


def test_no_decision_records_it() -> None:
    run = decide(running(0), look(), after(86_400))
    assert not {m.name for m in run.measurements} & {"probability_better", "expected_cost"}
