"""The fixed bands of the trade: what to do at which PSI and at which loss of accuracy.

They are a convention (Siddiqi 2006; the bands of 0.1 and 0.2 go back to Lewis 1994), not a test: a PSI depends on the
bins and on the number of rows, and seasonal features are above any band in every week. Here they are a policy that can
be chosen; the governor's own rule is another (docs/decisions.md).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import model_validator

from modelyard.config.policies import Policy
from modelyard.core.value import Value

Step = Literal["ok", "monitor", "schedule_48h", "schedule_24h", "retrain_now"]

STEPS: tuple[Step, ...] = ("ok", "monitor", "schedule_48h", "schedule_24h", "retrain_now")
"""From the mildest. ``schedule_48h``: retrain within 48 hours."""


class Standing(Value):
    """Where the measurements stand: the step to take, and which of them asks for it."""

    step: Step
    reason: str


class Bands(Policy):
    """Upper ends, each excluded, of "ok", "monitor" and "schedule"; from the last one on, retrain now.

    Within "schedule", the lower half of the band leaves 48 hours and the upper half 24. ``accuracy_drop`` is relative
    to the accuracy at release: 0.05 is a loss of 5% of it.
    """

    psi: tuple[float, float, float] = (0.1, 0.2, 0.3)
    accuracy_drop: tuple[float, float, float] = (0.02, 0.05, 0.10)

    @model_validator(mode="after")
    def _increasing(self) -> Self:
        for name, ends in (("psi", self.psi), ("accuracy_drop", self.accuracy_drop)):
            if ends[0] <= 0 or any(a >= b for a, b in pairwise(ends)):
                raise ValueError(f"{name} = {ends} must be positive and increase")
        return self

    def step(self, value: float, ends: tuple[float, float, float]) -> Step:
        """The step for one value.

        >>> bands = Bands()
        >>> [bands.step(value, bands.psi) for value in (0.0999, 0.1, 0.2, 0.25, 0.3, 0.31)]
        ['ok', 'monitor', 'schedule_48h', 'schedule_24h', 'schedule_24h', 'retrain_now']
        """
        ok, monitor, schedule = ends
        if value < ok:
            return "ok"
        if value < monitor:
            return "monitor"
        if value > schedule:
            return "retrain_now"
        return "schedule_48h" if value < (monitor + schedule) / 2 else "schedule_24h"

    def judge(self, *, psi: float | None, accuracy_drop: float | None) -> Standing | None:
        """The more urgent of the two; None if neither is known, which is never "ok".

        A value that is not known cannot be called fine either: with only one known, that one speaks for itself and the
        reason names what is missing.
        """
        known = [
            (self.step(value, ends), f"{name} {value:.3f}")
            for name, value, ends in (("PSI", psi, self.psi), ("accuracy drop", accuracy_drop, self.accuracy_drop))
            if value is not None
        ]
        if not known:
            return None
        step, reason = max(known, key=lambda found: STEPS.index(found[0]))
        missing = (
            "; the PSI is unknown" if psi is None else "; the accuracy is unknown" if accuracy_drop is None else ""
        )
        if missing and step == "ok":
            step = "monitor"
        return Standing(step=step, reason=f"{reason}{missing}")
