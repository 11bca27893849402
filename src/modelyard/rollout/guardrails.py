"""What a gateway's guardrails tolerate. Part of the rollout's policy; travels to the replicas inside the route."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.core.value import Value

Guard = Literal["error_rate", "latency_slo", "invalid_output", "disagreement", "cpu_time", "memory"]
GUARDS: tuple[Guard, ...] = ("error_rate", "latency_slo", "invalid_output", "disagreement", "cpu_time")
"""Those that are tests, and share the level. ``memory`` is a limit: it is measured once, and errs in nothing."""


ERROR_SHARE = 0.5
"""Of the level, for failing calls: users are answered late by them, where other faults are seen in numbers first."""


class GuardLimits(Value):
    """Budgets of one replica's guardrails.

    Each guardrail tests "the rate is at most its budget" by an e-process of the level that ``level`` gives it. These
    add up to ``alpha``: the chance that a version within all budgets is ever tripped on one replica is at most
    ``alpha``, however long the rollout.

    * ``error_rate``: calls of the challenger that raise, or do not return within ``timeout_ms``.
    * ``latency_slo``: calls that take longer than ``latency_slo_ms``.
    * ``invalid_output``: requests that were answered with a score that is no probability.
    * ``disagreement``: scores that differ by more than ``disagreement_above`` from the champion's for the same row, of
      one row of each request.
    * ``cpu_time``: seconds (of eight calls or more) whose median call uses more processor time a row than ``cpu_ms``,
      and than ``cpu_ratio`` times what the champion used in its warm-up.
    * ``memory``: the process has grown by more than ``memory_mb`` MiB by loading the challenger and warming it up.

    A guardrail in ``dry_run`` is counted and reported, and never trips.
    """

    alpha: float = Field(default=0.004, gt=0, lt=1)
    error_budget: float = Field(default=0.01, gt=0, lt=1)
    timeout_ms: float = Field(default=250.0, gt=0)
    latency_slo_ms: float = Field(default=100.0, gt=0)
    latency_budget: float = Field(default=0.05, gt=0, lt=1)
    invalid_budget: float = Field(default=0.001, gt=0, lt=1)
    disagreement_above: float = Field(default=0.5, gt=0, lt=1)
    disagreement_budget: float = Field(default=0.10, gt=0, lt=1)
    cpu_ms: float = Field(default=5.0, gt=0)
    cpu_ratio: float = Field(default=3.0, ge=1)
    cpu_budget: float = Field(default=0.05, gt=0, lt=1)
    memory_mb: float = Field(default=1024.0, gt=0)
    dry_run: tuple[Guard, ...] = ()

    def level(self, guard: Guard) -> float:
        """The level of one guardrail: half of ``alpha`` for ``error_rate``, the rest evenly among the others.

        >>> GuardLimits(alpha=0.006).level("error_rate"), GuardLimits(alpha=0.006).level("latency_slo")
        (0.003, 0.00075)
        """
        if guard == "error_rate":
            return self.alpha * ERROR_SHARE
        return self.alpha * (1 - ERROR_SHARE) / (len(GUARDS) - 1)
