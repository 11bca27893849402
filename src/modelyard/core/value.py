"""The base of every value that is exchanged or kept: frozen, strict, with one JSON form and a digest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from modelyard.core.digest import canonical_json, digest_json


def _as_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone; naive times are refused")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_as_utc)]
"""A point in time; aware, kept in UTC."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""A real number: NaN and infinities are refused at the edge."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A content digest as ``sha256:<64 hex digits>``."""

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""The name of a model: its folder under ``projects/``, its DAGs' prefix, its name in the registry."""


class Value(BaseModel):
    """A frozen value with a canonical JSON form. Unknown keys are errors.

    ``schema_version`` is the version of the JSON form: a reader refuses one that it does not know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    schema_version: int = Field(default=1, ge=1, le=1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data (moments as ISO 8601 in UTC)."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """The canonical JSON form."""
        return canonical_json(self.to_dict()).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the JSON form back; raises pydantic's ``ValidationError`` on anything unknown."""
        return cls.model_validate_json(text)

    @property
    def digest(self) -> str:
        """The content digest that names this value."""
        return digest_json(self.to_dict())
