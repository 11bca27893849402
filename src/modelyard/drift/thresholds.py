"""From where on a score is unusual: learnt from the reference's own weeks, each held out in turn.

Rows of a week share its weather, its holidays and its schedule, so that no formula for independent rows says how far a
week lies from the others by chance. Whole weeks are taken as the unit instead: each is scored against all the others,
as a new week will be against the reference. If a new week is like these weeks (exchangeable with them), its score is
above the ``k``-th smallest of ``m`` such scores with a probability of ``(m + 1 - k) / (m + 1)`` (Wilks 1941; Vovk,
Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"; that each is scored against one week fewer than
a new one will be is neglected). That is the false-alarm rate that is stated, for each feature on its own; of ``f``
features, one or another is above by chance at most ``f`` times as often. A season that the reference has not seen is no
false alarm: then the threshold is passed with good reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING

from pydantic import Field

from modelyard.core.errors import EvidenceMissing
from modelyard.core.profile import FeatureProfile, Profile, merge
from modelyard.core.value import Digest, Finite, Value
from modelyard.core.verdict import Measurement
from modelyard.drift.counts import count
from modelyard.drift.distances import psi

if TYPE_CHECKING:
    import pandas as pd

Distance = Callable[[FeatureProfile, FeatureProfile], float | None]

MIN_WEEKS = 4
"""With fewer weeks the stated rate would be above a quarter: no threshold at all."""


class FeatureThreshold(Value):
    """A score above ``value`` is unusual for this feature; by chance it happens at ``false_alarm_rate``."""

    feature: str
    value: Finite
    false_alarm_rate: float = Field(gt=0, lt=1)
    weeks: int = Field(ge=1)


class Thresholds(Value):
    """Thresholds of one score for the bins of one profile; ``asked_rate`` is what was wanted.

    Where the weeks are too few for the rate that was asked for, the greatest score seen is the threshold, and
    ``false_alarm_rate`` of the feature, which is then higher, says how often it is passed by chance.
    """

    score: str
    bins: Digest
    asked_rate: float = Field(gt=0, lt=1)
    features: tuple[FeatureThreshold, ...]

    def measurements(self) -> tuple[Measurement, ...]:
        """The thresholds as ``<score>_threshold``, one per feature, as ``drift.score`` names features."""
        return tuple(
            Measurement(name=f"{self.score}_threshold", value=t.value, n=t.weeks, slice=f"feature={t.feature}")
            for t in self.features
        )


def fit_thresholds(
    weeks: Sequence[Profile], *, false_alarm_rate: float = 0.1, score: str = "psi", distance: Distance = psi
) -> Thresholds:
    """Thresholds from the weeks of a reference, counted in its bins (edges that the weeks have a part in).

    Raises:
        EvidenceMissing: there are fewer than ``MIN_WEEKS`` weeks with rows.
        Conflict: the weeks were counted in different bins.
        ValueError: the rate is no probability.
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(f"a false-alarm rate lies between 0 and 1, got {false_alarm_rate}")
    used = [week for week in weeks if week.n]
    if len(used) < MIN_WEEKS:
        raise EvidenceMissing(f"thresholds need {MIN_WEEKS} weeks of reference, there are {len(used)}")
    others = [merge(*(other for other in used if other is not week)) for week in used]
    found = []
    for name in used[0].names:
        scores = (distance(rest.feature(name), week.feature(name)) for rest, week in zip(others, used, strict=True))
        known = sorted(value for value in scores if value is not None)
        if len(known) >= MIN_WEEKS:
            found.append(_threshold(name, known, false_alarm_rate))
    return Thresholds(score=score, bins=used[0].bins_digest, asked_rate=false_alarm_rate, features=tuple(found))


def weekly(reference: Profile, rows: pd.DataFrame, time: str, *, min_rows: int = 100) -> list[Profile]:
    """The reference's rows by weeks of seven days, counted from the first row; a week of few rows is left out."""
    since = rows[time] - rows[time].min()
    parts = (part for _, part in rows.groupby(since.dt.days // 7, sort=True))
    return [count(reference, part) for part in parts if len(part) >= min_rows]


def _threshold(name: str, scores: Sequence[float], rate: float) -> FeatureThreshold:
    m = len(scores)
    # The 1e-9 keeps a product such as 10 * 0.9 from being rounded up by its last bit.
    rank = min(m, ceil((m + 1) * (1 - rate) - 1e-9))
    return FeatureThreshold(feature=name, value=scores[rank - 1], false_alarm_rate=(m + 1 - rank) / (m + 1), weeks=m)
