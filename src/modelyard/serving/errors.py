"""Refusals: what the gateway answers when it does not answer with a prediction."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An answer of status 4xx or 503 that says what is wrong, where, and what would be accepted."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: tuple[tuple[bytes, bytes], ...] = (), **detail: Any
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers
        self.detail = detail

    def body(self) -> dict[str, Any]:
        """The JSON body: ``{"error": {"code", "message", ...detail}}``."""
        return {"error": {"code": self.code, "message": str(self), **self.detail}}


def busy(message: str, seconds: int = 1) -> Refusal:
    """The gateway is past its capacity; the client may come back after so many seconds."""
    return Refusal(503, "overloaded", message, headers=((b"retry-after", str(seconds).encode()),))


def invalid(field: str, value: object, accepted: str, *, row: int) -> Refusal:
    """A field of a row is not what the signature accepts."""
    shown = value if isinstance(value, bool | int | float | str) or value is None else type(value).__name__
    if isinstance(shown, str) and len(shown) > 100:
        shown = shown[:100] + "..."
    message = f"rows[{row}].{field} = {shown!r} is not accepted (accepted: {accepted})"
    return Refusal(422, "invalid_field", message, field=field, value=shown, accepted=accepted, row=row)
