"""The guardrails of one challenger on one replica: counts, e-processes, and the first that tripped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from modelyard.rollout.guardrails import GUARDS, Guard, GuardLimits
from modelyard.serving.resources import Meter
from modelyard.stats.sequential import BernoulliEProcess

Counts = dict[str, dict[str, int]]


class Guardrails:
    """Charged by the gateway as things happen; ``tripped`` names the first guardrail whose budget is refuted."""

    def __init__(
        self, limits: GuardLimits, champion_row_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``champion_row_s`` is the processor time of a row in the champion's warm-up; ``clock`` counts seconds."""
        budgets: dict[Guard, float] = {
            "error_rate": limits.error_budget,
            "latency_slo": limits.latency_budget,
            "invalid_output": limits.invalid_budget,
            "disagreement": limits.disagreement_budget,
            "cpu_time": limits.cpu_budget,
        }
        self.limits = limits
        self.row_s = max(limits.cpu_ms / 1e3, limits.cpu_ratio * champion_row_s)
        """Processor time a row beyond which the median call of a span counts against ``cpu_time``."""
        self.meter = Meter(clock)
        self.grown_mb: float | None = None
        self.tripped = ""
        self.on_trip: Callable[[Guardrails], None] = lambda _: None
        self._processes = {name: BernoulliEProcess(budgets[name], limits.level(name)) for name in GUARDS}

    def recall(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Go on from counts that were written down before a restart."""
        for name in GUARDS:
            if name in counts:
                self._charge(name, counts[name]["failures"], counts[name]["trials"])

    def call(self, failed: bool, seconds: float) -> None:
        """One call of the challenger came back, raised or ran out of time."""
        slow = not failed and seconds * 1e3 > self.limits.latency_slo_ms
        self._charge("error_rate", int(failed), 1)
        self._charge("latency_slo", int(slow), 1)
        spent = self.meter.take()
        if spent is not None:
            self._charge("cpu_time", int(spent > self.row_s), 1)

    def loaded(self, grown_mb: float | None) -> None:
        """By how much the process has grown when the challenger was loaded; None where that is not known."""
        self.grown_mb = grown_mb
        if grown_mb is not None and grown_mb > self.limits.memory_mb:
            self._trip("memory")

    def refused(self) -> None:
        """A request could not even be put to the challenger (it hangs, or its inputs do not fit)."""
        self._charge("error_rate", 1, 1)

    def outputs(self, invalid: int, requests: int) -> None:
        """The challenger answered this many requests, some of them with a score that is no probability."""
        self._charge("invalid_output", invalid, requests)

    def pairs(self, challenger: NDArray[np.float64], champion: NDArray[np.float64]) -> None:
        """Both versions scored the same rows, each of another request: rows of one are no trials of their own.

        A score that is no number is charged to ``invalid_output`` only.
        """
        apart = np.abs(challenger - champion) > self.limits.disagreement_above
        self._charge("disagreement", int(apart.sum()), len(apart))

    @property
    def counts(self) -> Counts:
        """Failures and trials by guardrail: enough to go on after a restart."""
        return {name: {"failures": p.failures, "trials": p.trials} for name, p in self._processes.items()}

    def detail(self) -> dict[str, dict[str, float]]:
        """For people: budgets, rates and e-values."""
        shown: dict[str, dict[str, float]] = {}
        for name, p in self._processes.items():
            rate = p.failures / p.trials if p.trials else 0.0
            # JSON has no infinity; e-values this large all say the same.
            evidence = min(p.e_value, 1e300)
            shown[name] = {
                "budget": p.p0,
                "rate": rate,
                "failures": p.failures,
                "trials": p.trials,
                "e_value": evidence,
            }
        shown["cpu_time"]["row_ms"] = 1e3 * self.row_s
        if self.grown_mb is not None:
            shown["memory"] = {"limit_mb": self.limits.memory_mb, "grown_mb": self.grown_mb}
        return shown

    def _charge(self, name: Guard, failures: int, trials: int) -> None:
        if self._processes[name].update(failures, trials):
            self._trip(name)

    def _trip(self, name: Guard) -> None:
        if not self.tripped and name not in self.limits.dry_run:
            self.tripped = name
            self.on_trip(self)
