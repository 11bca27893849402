"""Fairness between groups that ``model.yaml`` declares: demographic parity and equalised odds.

Both as largest differences between groups, in the definitions of Agarwal et al. 2018, "A reductions approach to fair
classification" (ICML), and Hardt, Price and Srebro 2016, "Equality of opportunity in supervised learning": the positive
rate; and the larger of the differences of the true and of the false positive rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modelyard.core.verdict import Measurement
from modelyard.evaluation.measure import Sample, Scores
from modelyard.release.encode import category

if TYPE_CHECKING:
    import pandas as pd

LEAST_OF_A_KIND = 30
"""A group with fewer rows of either outcome says nothing about its rates, and is left out and named."""

NAMES = ("demographic_parity_difference", "equalized_odds_difference")
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a group is told: the share called positive, of all, of the positives, and of the negatives."""

    selected: float
    true_positive: float
    false_positive: float


def measure_fairness(
    sample: Sample, scores: Scores, rows: pd.DataFrame, groups: Sequence[str], *, threshold: float
) -> Iterator[Measurement]:
    """Both differences for each declared feature (``slice="group=..."``), and the worst of all without a slice."""
    said = scores.p >= threshold
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    told: list[str] = []
    for feature in groups:
        rates, left_out = rates_by_group(sample.label > 0.5, said, rows[feature].map(category).to_numpy())
        about = f"{feature}: {', '.join(sorted(rates)) or 'no group'}"
        about += f"; too few rows: {', '.join(sorted(left_out))}" if left_out else ""
        told.append(about)
        for name, value in zip(NAMES, differences(list(rates.values())), strict=True):
            if value is not None:
                found[name].append(value)
            yield _one(name, value, f"group={feature}", sample, scores.release, about)
    for name, values in found.items():
        whole = max(values) if values and len(values) == len(groups) else None
        yield _one(name, whole, "", sample, scores.release, "; ".join(told))


def rates_by_group(label: Flags, said: Flags, group: Any) -> tuple[dict[str, Rates], list[str]]:
    """The rates of each group with enough rows of both outcomes, and the names of the others."""
    rates, left_out = {}, []
    for name in np.unique(group):
        own, positive = group == name, label[group == name]
        if min(int(positive.sum()), int((~positive).sum())) < LEAST_OF_A_KIND:
            left_out.append(str(name) or "missing")
            continue
        called = said[own]
        rates[str(name) or "missing"] = Rates(
            float(called.mean()), float(called[positive].mean()), float(called[~positive].mean())
        )
    return rates, left_out


def differences(rates: Sequence[Rates]) -> tuple[float | None, float | None]:
    """Demographic parity and equalised odds difference; None with fewer than two groups.

    >>> differences([Rates(0.5, 0.8, 0.2), Rates(0.4, 0.5, 0.1)])
    (0.1, 0.3)
    """
    if len(rates) < 2:
        return None, None
    selected, true, false = (
        round(max(values) - min(values), 12)
        for values in ([r.selected for r in rates], [r.true_positive for r in rates], [r.false_positive for r in rates])
    )
    return selected, max(true, false)


def _one(name: str, value: float | None, slice_: str, sample: Sample, release: str, told: str) -> Measurement:
    about: dict[str, Any] = {"name": name, "slice": slice_, "n": len(sample), "window": sample.window}
    if value is None:
        why = f"nothing to compare ({told})" if told else "model.yaml declares no groups"
        return Measurement(value=None, why=why, subject=release, **about)
    return Measurement(value=value, subject=release, evidence=told, **about)
