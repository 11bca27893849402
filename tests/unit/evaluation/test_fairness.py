"""Both differences on rows whose rates are known, and what is said where they cannot be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fixtures.small_model import WINDOW

from modelyard.evaluation.fairness import differences, measure_fairness, rates_by_group
from modelyard.evaluation.measure import Sample, Scores

RELEASE = "sha256:" + "a" * 64


def rows(counts: dict[str, tuple[int, int, int, int]]) -> tuple[Sample, Scores, pd.DataFrame]:
    """By group: true positives, false negatives, false positives, true negatives."""
    label, said, group = [], [], []
    for name, (tp, fn, fp, tn) in counts.items():
        label += [1] * (tp + fn) + [0] * (fp + tn)
        said += [1] * tp + [0] * fn + [1] * fp + [0] * tn
        group += [name] * (tp + fn + fp + tn)
    times = np.full(len(label), np.datetime64("2013-04-03"))
    sample = Sample(np.array(label, dtype=float), times, WINDOW)
    return sample, Scores(RELEASE, np.array(said) * 0.8 + 0.1), pd.DataFrame({"sex": group})


# Rates by hand: a 60/100 of positives and 10/100 of negatives, b 50/100 and 30/100.
TWO = {"a": (60, 40, 10, 90), "b": (50, 50, 30, 70)}


def measured(counts: dict[str, tuple[int, int, int, int]], groups: list[str]) -> dict[tuple[str, str], object]:
    sample, scores, frame = rows(counts)
    return {(m.name, m.slice): m for m in measure_fairness(sample, scores, frame, groups, threshold=0.5)}


@pytest.mark.parametrize("slice_", ["", "group=sex"])
def test_by_the_definitions(slice_: str) -> None:
    found = measured(TWO, ["sex"])
    assert found["demographic_parity_difference", slice_].value == pytest.approx(0.40 - 0.35)
    assert found["equalized_odds_difference", slice_].value == pytest.approx(0.20)  # of the false positives
    assert found["equalized_odds_difference", slice_].n == 400


def test_a_group_of_a_few_is_left_out_and_named() -> None:
    found = measured({**TWO, "c": (29, 0, 0, 100)}, ["sex"])["demographic_parity_difference", ""]
    assert found.value == pytest.approx(0.05)
    assert found.evidence == "sex: a, b; too few rows: c"


@pytest.mark.parametrize("groups", [[], ["sex"]])
def test_without_two_groups_there_is_no_evidence(groups: list[str]) -> None:
    for m in measured({"a": (60, 40, 10, 90)}, groups).values():
        assert m.value is None
        assert m.why == ("nothing to compare (sex: a)" if groups else "model.yaml declares no groups")


def test_one_feature_that_cannot_be_judged_hides_behind_no_other() -> None:
    sample, scores, frame = rows(TWO)
    found = list(measure_fairness(sample, scores, frame.assign(age="old"), ["sex", "age"], threshold=0.5))
    assert [m.value for m in found if not m.slice] == [None, None]


def test_missing_values_are_a_group() -> None:
    sample, scores, frame = rows(TWO)
    gone = frame["sex"].where(frame["sex"] == "a", None).to_numpy(dtype=object)
    rates, left_out = rates_by_group(sample.label > 0.5, scores.p >= 0.5, np.array([g or "" for g in gone]))
    assert (set(rates), left_out) == ({"a", "missing"}, [])
    assert differences(list(rates.values())) == (pytest.approx(0.05), pytest.approx(0.2))
