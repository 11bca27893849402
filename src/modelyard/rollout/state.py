"""A rollout's state: a frozen value, and the only ways in which it may change.

    pending ─ enter(0) ─► running(0) ─ advance, enter(1) ─► running(1) … ─ promote ─► promoting ─ verified ─► promoted
                             │                                  │                        │
                             └────────────── roll back ─────────┴─── a person aborts ────┴─► rolling_back ─► rolled_back

An exceptional canary may ``fast_track`` from a stage to the last one. A rollout of the strategy ``shadow`` ends, once
its stage has shown all, ``running ─ conclude ─► concluding ─► concluded``: the champion goes on alone, and the release
is as fit for a rollout as before.

Each change writes down what is wanted before anything is done about it; a crash in between is made good by doing the
same again. ``promoting``, ``concluding`` and ``rolling_back`` are such intentions. A promotion can be called off until
it is ``verified`` on every replica: from then on only the ledger is left to be written, and there is one way, forward.

A rollout of the strategy ``revert`` is born ``promoting``: its challenger is an earlier champion, which is to take the
place of the present one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, Self

from modelyard.core.errors import Conflict
from modelyard.core.value import Digest, ModelName, Moment, Value
from modelyard.ports.fleet import Arm
from modelyard.rollout.policy import RolloutPolicy, Stage, Strategy

Status = Literal[
    "pending", "running", "promoting", "promoted", "concluding", "concluded", "rolling_back", "rolled_back"
]
Action = Literal["hold", "advance", "fast_track", "promote", "conclude", "rollback", "ask"]
CLOSED: tuple[Status, ...] = ("promoted", "concluded", "rolled_back")
DECIDED: tuple[Action, ...] = ("advance", "fast_track", "promote", "conclude", "rollback")
"""Actions after which there is nothing more to look at in the stage."""
PATIENCE_S = 300.0
_ENDS: dict[Status, Status] = {"promoting": "promoted", "concluding": "concluded", "rolling_back": "rolled_back"}


class Event(Value):
    """Something that happened to a rollout."""

    at: Moment
    kind: str
    stage: int
    detail: str = ""


class RolloutState(Value):
    """Where a rollout stands.

    ``champion`` is None for the first release of a model (strategy ``first``: one stage, everybody, after warm-up and
    smoke test). With strategy ``revert`` the challenger was champion before, and there are no stages. ``stage`` is the
    one entered last, -1 before the first. ``action`` is what the last look came to. ``policy`` is the policy at the
    start: a file that changes under a running rollout does not change it. ``verified`` says that every replica was seen
    to answer with the challenger alone.
    """

    id: str
    model: ModelName
    release: Digest
    challenger: Arm
    champion: Arm | None
    strategy: Strategy | Literal["first", "revert"]
    paired: bool
    policy: RolloutPolicy
    gates: Digest
    governance: Digest
    as_of: Moment
    opened_at: Moment
    status: Status = "pending"
    stage: int = -1
    entering: int = -1
    entered_at: Moment | None = None
    looks: int = 0
    next_look_at: Moment | None = None
    action: Action = "hold"
    paused: bool = False
    verified: bool = False
    reason: str = ""
    decided_at: Moment | None = None
    decided_by: str = ""
    events: tuple[Event, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.status in CLOSED

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages to go through; for a first release, and in a revert, the last one alone, with all traffic."""
        if self.strategy in ("first", "revert"):
            return (self.policy.stages[-1].model_copy(update={"weight": 100.0}),)
        return self.policy.stages

    @property
    def current(self) -> Stage:
        """The stage entered last. Raises ``Conflict`` before the first."""
        if self.stage < 0:
            raise Conflict(f"rollout {self.id} has not entered a stage yet")
        return self.stages[self.stage]

    @property
    def last_stage(self) -> bool:
        """Whether there is no stage after this one."""
        return self.stage == len(self.stages) - 1

    @property
    def next_stage(self) -> int | None:
        """The stage that may be entered now; None while there is none."""
        if self.status == "pending":
            return 0
        if self.status != "running" or self.last_stage:
            return None
        return {"advance": self.stage + 1, "fast_track": len(self.stages) - 1}.get(self.action)

    @property
    def deadline(self) -> datetime | None:
        """When the current stage must have come to something."""
        return None if self.entered_at is None else self.entered_at + timedelta(seconds=self.current.max_seconds)

    @property
    def patience(self) -> timedelta:
        """For how long what a look came to is knowledge enough to go on: ten looks' time, and some minutes at least."""
        return timedelta(seconds=max(10 * self.policy.look_every_seconds, PATIENCE_S))

    @property
    def summary(self) -> str:
        """One line for people."""
        share = ""
        if self.stage >= 0 and not self.closed:
            share = " in shadow" if self.current.shadow else f" at {self.current.weight:g}%"
        why = f": {self.reason}" if self.reason else ""
        instead = f" in place of version {self.champion.version}" if self.strategy == "revert" and self.champion else ""
        return f"{self.model} version {self.challenger.version}: {self.status.replace('_', ' ')}{share}{instead}{why}"

    def stale(self, at: datetime) -> bool:
        """Whether the last look is too old to promote on."""
        if self.next_look_at is None:
            return False
        return at > self.next_look_at - timedelta(seconds=self.policy.look_every_seconds) + self.patience

    def overdue(self, stage: int, at: datetime) -> bool:
        """Whether a stage has been tried in vain for some time, and past the deadline of the one before."""
        begun = [e.at for e in self.events if (e.kind, e.stage) == ("entering", stage)]
        if not begun or self.entering != stage or self.deadline is None:
            return False
        return at >= max(self.deadline, begun[-1] + self.patience)

    def begin_stage(self, stage: int, at: datetime) -> Self:
        """Want to enter a stage; the same again changes nothing.

        Raises:
            Conflict: the stage before has not been passed, the rollout is paused, or it is ending.
        """
        self._let_go()
        if self.entering == stage and self.status in ("pending", "running"):
            return self
        if stage != self.next_stage:
            raise Conflict(f"{self.id} cannot enter stage {stage}: it is {self.status} in {self.stage}, {self.action}")
        return self._with("entering", stage, at, entering=stage)

    def enter(self, stage: int, at: datetime) -> Self:
        """Every replica follows the stage's split now. Raises ``Conflict`` when it was not begun."""
        if self.stage == stage:
            return self
        if self.entering != stage or self.status not in ("pending", "running"):
            raise Conflict(f"{self.id}: stage {stage} was not begun")
        first_look = at + timedelta(seconds=min(self.policy.look_every_seconds, self.stages[stage].min_seconds))
        changes: dict[str, Any] = {"status": "running", "stage": stage, "entered_at": at, "looks": 0, "action": "hold"}
        return self._with("entered", stage, at, **changes, next_look_at=first_look)

    def looked(self, action: Action, reason: str, at: datetime) -> Self:
        """What a look came to."""
        if self.status != "running":
            raise Conflict(f"{self.id} is {self.status}; there is nothing to look at")
        later = at + timedelta(seconds=self.policy.look_every_seconds)
        changes = {"looks": self.looks + 1, "next_look_at": later, "action": action, "reason": reason}
        if action == self.action:
            return self.model_copy(update=changes)
        return self._with(action, self.stage, at, reason, **changes)

    def pause(self, paused: bool, by: str, at: datetime) -> Self:
        """Hold whatever the looks say (a trip or clear harm excepted), or go on."""
        if self.closed or paused == self.paused:
            return self
        return self._with("paused" if paused else "resumed", self.stage, at, by, paused=paused)

    def begin_promotion(self, reason: str, by: str, at: datetime, *, by_hand: bool = False) -> Self:
        """Decide for the release.

        Raises:
            Conflict: the last stage was not passed, or the rollout is paused, and no person insists.
        """
        if self.status in ("promoting", "promoted"):
            return self
        if not by_hand:
            self._let_go()
        earned = self.status == "running" and self.last_stage and self.action == "promote"
        if not (earned or (by_hand and self.status == "running")):
            raise Conflict(f"{self.id} has not earned promotion: {self.status}, stage {self.stage}, {self.action}")
        changes = {"status": "promoting", "reason": reason, "decided_at": at, "decided_by": by}
        return self._with("promoting", self.stage, at, reason, **changes)

    def begin_conclusion(self, reason: str, by: str, at: datetime) -> Self:
        """Take the challenger off, with nothing held against it.

        Raises:
            Conflict: its shadow was not passed, or the rollout is paused.
        """
        if self.status in ("concluding", "concluded"):
            return self
        self._let_go()
        if not (self.status == "running" and self.last_stage and self.action == "conclude"):
            raise Conflict(f"{self.id} has nothing to conclude: {self.status}, stage {self.stage}, {self.action}")
        changes = {"status": "concluding", "reason": reason, "decided_at": at, "decided_by": by}
        return self._with("concluding", self.stage, at, reason, **changes)

    def begin_revert(self, reason: str, by: str, at: datetime) -> Self:
        """Decide for an earlier champion. Raises ``Conflict`` unless this is a revert that was not begun yet."""
        if self.strategy != "revert" or self.status != "pending":
            raise Conflict(f"{self.id} is no new revert: strategy {self.strategy}, {self.status}")
        changes = {"status": "promoting", "reason": reason, "decided_at": at, "decided_by": by}
        return self._with("promoting", self.stage, at, reason, **changes)

    def verify(self, at: datetime) -> Self:
        """Every replica was seen to answer with the challenger alone. Raises ``Conflict`` unless it is promoting."""
        if self.verified:
            return self
        if self.status != "promoting":
            raise Conflict(f"{self.id} is {self.status}; there is no promotion to verify")
        return self._with("verified", self.stage, at, verified=True)

    def begin_rollback(
        self, reason: str, by: str, at: datetime, *, by_hand: bool = False, tripped: bool = False
    ) -> Self:
        """Decide against the release. Calling off a promotion, or a conclusion, takes a person, or a guardrail's trip.

        Raises:
            Conflict: it is being promoted, nobody insists and nothing has tripped; or it is verified as champion
                everywhere.
        """
        if self.status in ("rolling_back", "rolled_back"):
            return self
        if self.status == "concluded":
            raise Conflict(f"{self.id} is concluded: the champion answers alone, there is nothing to take back")
        if self.status == "promoted":
            raise Conflict(f"{self.id} is promoted; `modelyard rollout revert {self.model}` goes back")
        if self.verified:
            raise Conflict(
                f"{self.id} serves everybody on every replica, only its record is missing: end it with "
                f"`modelyard rollout promote {self.model}`, then `modelyard rollout revert {self.model}` goes back"
            )
        if self.status in ("promoting", "concluding") and not (by_hand or tripped):
            raise Conflict(
                f"{self.id} is {self.status}; a person may call that off: `modelyard rollout abort {self.model}`"
            )
        changes = {"status": "rolling_back", "reason": reason, "decided_at": at, "decided_by": by}
        return self._with("rolling_back", self.stage, at, reason, **changes)

    def finish(self, at: datetime) -> Self:
        """What was decided has been done everywhere. Raises ``Conflict`` for a promotion that was not verified."""
        if self.closed:
            return self
        if self.status not in _ENDS:
            raise Conflict(f"{self.id} is {self.status}; nothing has been decided")
        if self.status == "promoting" and not self.verified:
            raise Conflict(f"{self.id} was not verified on every replica")
        status = _ENDS[self.status]
        return self._with(status, self.stage, at, self.reason, status=status, next_look_at=None)

    def _let_go(self) -> None:
        if self.paused and self.status in ("pending", "running"):
            raise Conflict(f"{self.id} is paused by hand; `modelyard rollout resume {self.model}` lets it go on")

    def _with(self, kind: str, stage: int, at: datetime, detail: str = "", /, **changes: Any) -> Self:
        event = Event(at=at, kind=kind, stage=stage, detail=detail)
        return type(self).model_validate(self.model_copy(update={**changes, "events": (*self.events, event)}).to_dict())
