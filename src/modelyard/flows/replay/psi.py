"""Distances between what a model was fitted on and what it was asked in a week, for the naive policy."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.core.profile import Profile
from modelyard.drift.counts import count
from modelyard.drift.distances import psi
from modelyard.drift.edges import fit_profile
from modelyard.flows.replay.history import Past


@dataclass
class Distances:
    """The highest PSI of any feature, by week of the fit and week of asking; each is computed once."""

    past: Past
    window_days: float
    _references: dict[int, Profile] = field(default_factory=dict)
    _highest: dict[tuple[int, int], float] = field(default_factory=dict)

    def highest(self, fit: int, week: int) -> float:
        """Between the rows that the fit saw, and those asked about in the week."""
        if (fit, week) not in self._highest:
            reference, past = self._reference(fit), self.past
            current = count(reference, past.frame.iloc[past.first(week) : past.first(week + 1)])
            found = (psi(reference.feature(n), current.feature(n)) for n in reference.names)
            self._highest[fit, week] = max((v for v in found if v is not None), default=0.0)
        return self._highest[fit, week]

    def _reference(self, fit: int) -> Profile:
        if fit not in self._references:
            spec = self.past.project.spec
            rows, _ = self.past.seen(fit, self.window_days)
            self._references[fit] = fit_profile(
                rows, numeric=spec.of(kind="numeric"), categorical=spec.of(kind="categorical")
            )
        return self._references[fit]
