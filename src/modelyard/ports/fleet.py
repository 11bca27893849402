"""The gateway's replicas, as the rollout sees them."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field, JsonValue

from modelyard.core.value import Digest, ModelName, Moment, Value


class Arm(Value):
    """One version that can answer."""

    release: Digest
    version: int = Field(ge=1)
    bundle: str


class Route(Value):
    """Who answers which share of a model's traffic.

    ``weight`` is the challenger's share in basis points (0 to 10,000); ``salt`` makes each release's sticky buckets its
    own; with ``paired`` the arm that did not answer scores the same rows off the request path: of all requests, or of
    ``sample`` basis points of them, drawn at random.
    ``guardrails`` are the limits that each replica watches during the rollout.
    ``warm`` answers nobody: replicas keep it loaded until ``warm_until`` at least, so that going back to it is instant.
    """

    model: ModelName
    champion: Arm | None
    challenger: Arm | None = None
    weight: int = Field(default=0, ge=0, le=10_000)
    salt: str = ""
    paired: bool = False
    sample: int = Field(default=10_000, ge=1, le=10_000)
    rollout: str = ""
    guardrails: dict[str, JsonValue] = Field(default_factory=dict)
    warm: Arm | None = None
    warm_until: Moment | None = None


class ReplicaState(Value):
    """What a replica says of itself for one model. ``warm`` is the release that it keeps loaded for the way back."""

    replica: str
    generation: int
    champion: str | None
    challenger: str | None
    weight: int
    tripped: str = ""
    trip_detail: dict[str, JsonValue] = Field(default_factory=dict)
    counts: dict[str, dict[str, float]] = Field(default_factory=dict)
    warm: str = ""


class Trip(Value):
    """A guardrail took a challenger off: what a replica writes down when it happens, and what outlives it."""

    replica: str
    model: ModelName
    rollout: str
    challenger: Digest
    generation: int
    guardrail: str
    at: Moment
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class Fleet(Protocol):
    """All replicas of the gateway."""

    def apply(self, route: Route, generation: int) -> dict[str, ReplicaState]:
        """Bring every replica to this generation (load and warm up first, then one atomic swap each).

        Raises:
            Unavailable: a replica did not acknowledge; the message names it.
        """

    def state(self, model: str) -> dict[str, ReplicaState]:
        """What every replica says now. Raises ``Unavailable``."""

    def predict(self, model: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask every replica the same question; their answers, in the order of the replicas. Raises ``Unavailable``."""

    def probe(self, model: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask every replica's challenger, whatever its share; nobody's answer, neither logged nor compared.

        Raises:
            Conflict: a replica has no challenger, or has taken it off.
            Unavailable: a replica does not answer, or its challenger cannot.
        """

    def survey(self, model: str) -> tuple[dict[str, ReplicaState], tuple[str, ...]]:
        """What those say that answer, and what was wrong with each of the others. A lost replica raises nothing."""


class Edge(Protocol):
    """What users reach: one address in front of all replicas."""

    def predict(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask as a user does. Raises ``Unavailable`` unless there is an answer."""

    def admin_status(self, model: str) -> int:
        """The status with which the edge answers a call of the admin API without a token. Raises ``Unavailable``."""
