"""What serves a model at this moment, as one immutable value that is replaced by one assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import randrange
from typing import Any

from modelyard.ports.fleet import Route
from modelyard.rollout.guardrails import GuardLimits
from modelyard.serving.batcher import LoopBatcher, ThreadBatcher
from modelyard.serving.beside import Beside
from modelyard.serving.encoding import Encoded, Row
from modelyard.serving.guard import Guardrails
from modelyard.serving.online import Completion
from modelyard.serving.resources import Metered
from modelyard.serving.router import split
from modelyard.serving.scorer import Call, Scorer
from modelyard.serving.trial import Trial
from modelyard.serving.usage import Spending

COMPARED_ROWS = 64
"""Rows that a challenger scores in one call to be compared: about what users ask of it at a time."""


@dataclass(slots=True, eq=False)
class Tally:
    """Rows by version since the rollout began here; the numbers that are only ever added to.

    ``repeats`` are the rows that came after the first of their request, ``failed_repeats`` those among the errors: rows
    of one request fail together, so that rates are counted by request.
    """

    rows: int = 0
    errors: int = 0
    dropped_pairs: int = 0
    repeats: int = 0
    failed_repeats: int = 0


@dataclass(slots=True, eq=False)
class Mirror:
    """Requests that the challenger was shown after the champion's answer: all, those that it failed, and those that it
    was not asked because its queue was full. The numbers are only ever added to."""

    requests: int = 0
    errors: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """The version that answers unless the split says otherwise, and whenever the challenger does not."""

    scorer: Scorer
    batcher: LoopBatcher
    spending: Spending
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True, eq=False)
class Challenger:
    """The version on trial, with its guardrails. What is only compared never stands before users in its queue."""

    scorer: Scorer
    batcher: Trial
    comparer: ThreadBatcher
    guard: Guardrails
    same_inputs: bool
    tally: Tally = field(default_factory=Tally)
    mirror: Mirror = field(default_factory=Mirror)
    beside: Beside = field(default_factory=Beside)

    def encode(self, rows: Sequence[Row], encoded: Encoded) -> Encoded:
        """The rows as the challenger sees them; the champion's encoding serves where the inputs are the same."""
        return encoded if self.same_inputs else self.scorer.encoder.encode(rows)

    def close(self) -> None:
        """Take no more work; what is under way ends as it would have."""
        self.batcher.close()
        self.comparer.close()


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """Who answers which share. ``weight`` is the wanted one, or 0 once a guardrail has tripped."""

    route: Route
    generation: int
    champion: Champion
    challenger: Challenger | None
    weight: int
    completion: Completion
    tripped: str = ""
    trip_detail: dict[str, Any] = field(default_factory=dict)

    @property
    def shadow(self) -> bool:
        """Whether the challenger is asked, and answers nobody."""
        return self.paired and not self.weight

    def drawn(self) -> bool:
        """Whether a request that was answered just now is one of those that the other version scores too."""
        return self.paired and (self.route.sample >= 10_000 or randrange(10_000) < self.route.sample)  # noqa: S311

    @property
    def paired(self) -> bool:
        """Whether the arm that did not answer scores the row too."""
        return self.challenger is not None and self.route.paired and not self.tripped

    def split(self, keys: Sequence[str]) -> tuple[list[int], list[int]]:
        """Places of the rows that the champion answers, and of those that the challenger answers."""
        if not self.weight or self.challenger is None:
            return list(range(len(keys))), []
        theirs = split(self.route.salt, self.weight).theirs(keys)
        if not theirs:
            return list(range(len(keys))), theirs
        chosen = set(theirs)
        return [place for place in range(len(keys)) if place not in chosen], theirs

    def without_challenger(self, tripped: str, detail: dict[str, Any]) -> Live:
        """The same with all traffic on the champion. The challenger stays loaded but is not asked any more."""
        return replace(self, weight=0, tripped=tripped, trip_detail=detail)


def assemble(
    route: Route,
    generation: int,
    champion: Scorer,
    challenger: Scorer | None,
    completion: Completion,
    before: Live | None,
) -> Live:
    """What is to serve for this route.

    Within one rollout the guardrails' evidence, the tallies and a trip are carried over from ``before``: a new
    generation never forgets what the challenger did, and never gives traffic to a version that was tripped.
    """
    same = before if before is not None and before.route.rollout == route.rollout else None
    # By digest, not by object: a version that was loaded anew meanwhile is the same one.
    kept = same.champion.tally if same is not None and same.champion.scorer.digest == champion.digest else Tally()
    spending = Spending(champion)
    first = Champion(champion, LoopBatcher(spending.score), spending, kept)
    if challenger is None:
        return Live(route, generation, first, None, 0, completion)
    second = _challenger(route, champion, challenger, same)
    if same is not None and same.tripped and same.route.challenger == route.challenger:
        return Live(route, generation, first, second, 0, completion, same.tripped, same.trip_detail)
    return Live(route, generation, first, second, route.weight, completion)


def _challenger(route: Route, champion: Scorer, challenger: Scorer, same: Live | None) -> Challenger:
    same_inputs = challenger.signature.inputs == champion.signature.inputs
    kept = same.challenger if same is not None else None
    if kept is not None and kept.scorer.digest == challenger.digest:
        kept.comparer.after = _timing(route, champion, same_inputs, kept.beside)
        return replace(kept, same_inputs=same_inputs)
    limits = GuardLimits.model_validate(route.guardrails)
    guard = Guardrails(limits, champion.row_cpu_s)
    call: Callable[[], Metered] = lambda: Metered(Call(challenger), guard.meter)  # noqa: E731
    limit_s, compared = limits.timeout_ms / 1e3, call()
    trial = Trial(call, limit_s=limit_s, on_call=guard.call)
    comparer = ThreadBatcher(
        compared.score, limit_s=limit_s, on_call=guard.call, call_rows=COMPARED_ROWS, interrupt=compared.interrupt
    )
    beside = Beside()
    comparer.after = _timing(route, champion, same_inputs, beside)
    return Challenger(challenger, trial, comparer, guard, same_inputs, beside=beside)


def _timing(
    route: Route, champion: Scorer, same_inputs: bool, beside: Beside
) -> Callable[[Encoded, float], None] | None:
    """What times the champion beside a shadow; nothing where the champion does not take the challenger's inputs."""
    return partial(beside.time, champion.score) if route.paired and not route.weight and same_inputs else None
