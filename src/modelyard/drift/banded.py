"""The fixed bands as a policy of the governor: which step they ask for, and for how long it may wait.

Chosen by ``retrain_on: bands``. The step is the more urgent of the largest PSI's and the accuracy's loss beside the
baseline; seasonal features are above any band in every week, so that this policy retrains often (docs/drift.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from modelyard.core.value import Moment
from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.drift.bands import Bands, Standing
from modelyard.drift.verdicts import verdict

BANDS = "bands"

WAITS = {"schedule_48h": 48, "schedule_24h": 24, "retrain_now": 0}
"""Hours within which a step asks for the retraining."""


class Decided(Protocol):
    """An earlier decision: ``governor.Past``."""

    @property
    def at(self) -> Moment: ...

    @property
    def action(self) -> str: ...

    @property
    def champion(self) -> str: ...


def standing(psi: Iterable[Measurement], drops: Iterable[Measurement], bands: Bands) -> Standing | None:
    """Where the largest PSI and the overall ``accuracy_drop`` stand; None if neither is known."""
    largest = max((m.value for m in psi if m.value is not None), default=None)
    drop = next((m.value for m in drops if m.name == "accuracy_drop" and not m.slice), None)
    return bands.judge(psi=largest, accuracy_drop=drop)


def judge_bands(stands: Standing | None) -> Verdict:
    """Failed where a retraining is asked for, inconclusive where a look is or nothing is known."""
    if stands is None:
        return verdict(BANDS, Outcome.INCONCLUSIVE, "neither a PSI nor the accuracy beside the baseline is known")
    outcome = {"ok": Outcome.SUCCESSFUL, "monitor": Outcome.INCONCLUSIVE}.get(stands.step, Outcome.FAILED)
    return verdict(BANDS, outcome, f"{stands.step} by the fixed bands: {stands.reason}")


def due(stands: Standing, past: Sequence[Decided], champion: str | None, now: Moment) -> Moment:
    """By when the step asks for the retraining: its hours after ``schedule`` was first decided, without a break since
    then, for this champion; after ``now`` if it never was."""
    first = now
    for one in sorted((p for p in past if p.at < now), key=lambda p: p.at, reverse=True):
        if one.action != "schedule" or one.champion != champion:
            break
        first = one.at
    return first + timedelta(hours=WAITS[stands.step])
