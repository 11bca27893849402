"""How much flights of one day share: design effects and correlations of days for the paired loss of real refits.

Every second week a model is fitted as in training and compared with the one fitted two weeks before, on the six weeks
that follow: what a rollout would see. The first run fits some twenty models (minutes); they are kept under
var/replay. The peer is what the policy assumes (rollout.yaml), or independence.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

import numpy as np
from _report import Row, write
from numpy.typing import NDArray

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.flows.replay.fits import Fits
from modelyard.flows.replay.history import Past, read_past
from modelyard.rollout.loss import Difference, losses, measurements, paired
from modelyard.rollout.policy import Quality, load_rollout_policy
from modelyard.stats.blocks import block_numbers

MODEL = "flight_delay"
EVERY, FIRST, WEEKS = 2, 12, 6
"""Weeks between two fits; the week of the first one; weeks that they are compared on."""


def differences(fits: Fits, week: int, metric: str) -> tuple[NDArray[np.float64], NDArray[np.datetime64]]:
    """Loss of the fit of this week minus that of the one before, for each row of the weeks that follow; their times."""
    past, start, end = fits.past, fits.past.first(week), fits.past.first(week + WEEKS)
    label = past.label[start:end]
    scores = [
        1 / (1 + np.exp(-fits.logits("network", 0, w)[start - fits.begin(w) : end - fits.begin(w)].astype(float)))
        for w in (week, week - EVERY)
    ]
    new, old = (losses(metric, score, label, np.full(len(label), 0.5)) for score in scores)  # type: ignore[arg-type]
    return new - old, past.asked[start:end]


def compared(fits: Fits, week: int, quality: Quality) -> dict[str, Any]:
    """What days share in one comparison, and when the decision would have promoted."""
    values, asked = differences(fits, week, quality.metric)
    days = block_numbers(asked, quality.block_hours, quality.block_start_hour)
    found = paired(values, days)
    assert isinstance(found, Difference)
    means = np.bincount(days, values) / np.bincount(days)
    centred = means - means.mean()
    return {
        "week": week,
        "mean": found.mean,
        "row_deviation": float(values.std()),
        "day_deviation": float(means.std(ddof=1)),
        "design_effect": found.design_effect,
        "correlation": float((centred[1:] * centred[:-1]).sum() / (centred**2).sum()),
        "skewness": float((centred**3).mean() / (centred**2).mean() ** 1.5),
        "days_to_promote": _days_to_promote(values, days, quality),
    }


def _days_to_promote(values: NDArray[np.float64], days: NDArray[np.int64], quality: Quality) -> int | None:
    for day in range(quality.min_blocks, int(days.max()) + 2):
        seen = days < day
        high = measurements(paired(values[seen], days[seen]), int(seen.sum()), quality)[0].high
        if high is not None and high <= quality.margin:
            return day
    return None


def main() -> None:
    settings = Settings.from_env()
    quality = load_rollout_policy(settings, "any_model").quality
    past: Past = read_past(load_project(MODEL, settings))
    fits = Fits(past, settings.home / "replay", lambda line: print(line, file=sys.stderr))
    weeks = range(FIRST + EVERY, past.weeks - WEEKS + 1, EVERY)
    fits.make(("network", 0, week) for week in range(FIRST, max(weeks) + 1, EVERY))
    each = [compared(fits, week, quality) for week in weeks]
    rows = [
        Row(
            "design effect of a day, median",
            median(e["design_effect"] for e in each),
            "",
            "independent rows",
            1,
            "lower",
        ),
        Row(
            "design effect of a day, greatest",
            max(e["design_effect"] for e in each),
            "",
            "independent rows",
            1,
            "lower",
        ),
        Row(
            "correlation of neighbouring days, mean",
            sum(e["correlation"] for e in each) / len(each),
            "",
            "block_correlation of the policy",
            quality.block_correlation,
            "lower",
        ),
    ]
    promoted = [e["days_to_promote"] for e in each if e["days_to_promote"]]
    after = f"the median after {median(promoted):g} days" if promoted else "none"
    print(f"{len(promoted)} of {len(each)} would have been promoted within {WEEKS} weeks, {after}")
    write("design_effect", rows, comparisons=each)


if __name__ == "__main__":
    main()
