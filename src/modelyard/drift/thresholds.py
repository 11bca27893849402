"""From where on a score is unusual: learnt from the reference's own weeks, each held out in turn.

Rows of a week share its weather, its holidays and its schedule, so that no formula for independent rows says how far a
week lies from the others by chance. Whole weeks are taken as the unit instead: each is scored against all the others,
as a new week will be against the reference. If a new week is like these weeks (exchangeable with them), its score is
above the ``k``-th smallest of ``m`` such scores with a probability of ``(m + 1 - k) / (m + 1)`` (Wilks 1941; Vovk,
Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"; that each is scored against one week fewer than
a new one will be is neglected). That is the false-alarm rate that is stated, for each feature on its own. A season that
the reference has not seen is no false alarm: then the threshold is passed with good reason.

Of many features one or another is above its own in most weeks. Looked at together they therefore have ``Joint``
thresholds: each feature's mean score over the weeks, times one factor. Of each week the largest ratio of a score to
that feature's mean over the other weeks is taken, and the same rank of these ratios is the factor (the maximum
statistic of Westfall and Young 1993, "Resampling-Based Multiple Testing", by the rank argument above). Features that
move together cost no more than one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

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


NOTHING = 0.01
"""A PSI below which no drift is worth a look: what never moved has no scale of its own by which a hair is unusual."""


class FeatureThreshold(Value):
    """A score above ``value`` is unusual for this feature; by chance it happens at ``false_alarm_rate``.

    ``scores`` are those of the weeks, in their order; a week without one, or an early version's threshold, has none.
    """

    feature: str
    value: Finite
    false_alarm_rate: float = Field(gt=0, lt=1)
    weeks: int = Field(ge=1)
    scores: tuple[Finite | None, ...] = ()


class Joint(NamedTuple):
    """That any of the features is above ``factor`` times its mean happens by chance at ``false_alarm_rate``."""

    factor: float
    false_alarm_rate: float


class Thresholds(Value):
    """Thresholds of one score for the bins of one profile; ``asked_rate`` is what was wanted.

    Where the weeks are too few for the rate that was asked for, the greatest score seen is the threshold, and
    ``false_alarm_rate`` of the feature, which is then higher, says how often it is passed by chance. ``least`` is the
    score below which none is unusual in the joint thresholds.
    """

    score: str
    bins: Digest
    asked_rate: float = Field(gt=0, lt=1)
    features: tuple[FeatureThreshold, ...]
    least: float = Field(default=NOTHING, ge=0)

    def joint(self, names: Collection[str]) -> Joint | None:
        """How many times its mean a feature's score may be so that these together keep the rate that was asked for;
        None where there are none of them, or where the weeks' scores were not kept (an early version)."""
        chosen = [t for t in self.features if t.feature in names]
        if not chosen or not all(t.scores for t in chosen):
            return None
        rows = list(zip(*(t.scores for t in chosen), strict=True))
        return joint_factor([list(row) for row in rows], self.asked_rate, self.least)

    def measurements(self, names: Collection[str] = ()) -> tuple[Measurement, ...]:
        """The thresholds as ``<score>_threshold``, one per feature, as ``drift.score`` names features.

        ``names``: the features that are looked at together; they get their joint thresholds, and ``evidence`` says at
        what rate. All others, and all where there is no joint factor, have the one that holds for them alone.
        """
        joint = self.joint(names)
        found = []
        for t in self.features:
            value, told = t.value, ""
            if joint is not None and t.feature in names:
                value, told = joint.factor * max(_mean(t.scores), self.least), _told(joint, len(names))
            where = f"feature={t.feature}"
            found.append(
                Measurement(name=f"{self.score}_threshold", value=value, n=t.weeks, slice=where, evidence=told)
            )
        return tuple(found)


def joint_factor(weeks: Sequence[Sequence[float | None]], rate: float, least: float) -> Joint:
    """The factor for scores by week and feature (None: no score); see the module. A mean is at least ``least``."""
    columns = list(zip(*weeks, strict=True))
    found = []
    for place, week in enumerate(weeks):
        means = (_mean((*column[:place], *column[place + 1 :])) for column in columns)
        pairs = zip(week, means, strict=True)
        found.append(max((v / max(mean, least) for v, mean in pairs if v is not None), default=0.0))
    rank = _rank(len(found), rate)
    return Joint(sorted(found)[rank - 1], (len(found) + 1 - rank) / (len(found) + 1))


def fit_thresholds(
    weeks: Sequence[Profile],
    *,
    false_alarm_rate: float = 0.1,
    score: str = "psi",
    distance: Distance = psi,
    least: float = NOTHING,
) -> Thresholds:
    """Thresholds from the weeks of a reference, counted in its bins (edges that the weeks have a part in).

    ``least``: the score below which none is unusual, in the units of ``distance``.

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
        scores = [distance(rest.feature(name), week.feature(name)) for rest, week in zip(others, used, strict=True)]
        if sum(value is not None for value in scores) >= MIN_WEEKS:
            found.append(_threshold(name, scores, false_alarm_rate))
    return Thresholds(
        score=score, bins=used[0].bins_digest, asked_rate=false_alarm_rate, features=tuple(found), least=least
    )


def weekly(reference: Profile, rows: pd.DataFrame, time: str, *, min_rows: int = 100) -> list[Profile]:
    """The reference's rows by weeks of seven days, counted from the first row; a week of few rows is left out."""
    since = rows[time] - rows[time].min()
    parts = (part for _, part in rows.groupby(since.dt.days // 7, sort=True))
    return [count(reference, part) for part in parts if len(part) >= min_rows]


def _threshold(name: str, scores: Sequence[float | None], rate: float) -> FeatureThreshold:
    known = sorted(value for value in scores if value is not None)
    m = len(known)
    return FeatureThreshold(
        feature=name,
        value=known[_rank(m, rate) - 1],
        false_alarm_rate=(m + 1 - _rank(m, rate)) / (m + 1),
        weeks=m,
        scores=tuple(scores),
    )


def _mean(scores: Sequence[float | None]) -> float:
    """The mean of those that are known; 0 where none is."""
    known = [value for value in scores if value is not None]
    return sum(known) / len(known) if known else 0.0


def _rank(m: int, rate: float) -> int:
    # The 1e-9 keeps a product such as 10 * 0.9 from being rounded up by its last bit.
    return min(m, ceil((m + 1) * (1 - rate) - 1e-9))


def _told(joint: Joint, features: int) -> str:
    together = f"{joint.factor:.2f} times its mean, so that one of {features} features is above"
    return f"{together} in {joint.false_alarm_rate:.1%} of such windows by chance"
