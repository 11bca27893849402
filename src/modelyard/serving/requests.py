"""The bodies of the public API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from modelyard.serving.errors import Refusal, invalid

MOST_ROWS = 1000
MOST_GENERATION = 2**63 - 1
"""What the ledger can count to. Past it a replica would take no other route for ever."""
Bounds = tuple[float, float]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNTIL_US = round((datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * 1_000_000


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``rows`` hold features, or the entity fields by which the online store knows them, and the key.

    ``event_time`` is when the prediction is asked for; by default, now. A ``probe`` is answered like any other request
    but is nobody's: it is neither logged, compared nor counted for or against a version (a failure still charges the
    guardrails).
    """

    rows: list[dict[str, Any]]
    event_time: datetime | None = None
    probe: bool = False


class Outcome(msgspec.Struct, forbid_unknown_fields=True):
    """What came of a prediction: of all predictions of a key, or of one request. A label, declared numbers, or both."""

    known_at: datetime
    label: float | None = None
    numbers: dict[str, float] = {}
    key: str | int | None = None
    request_id: str | None = None


class FeedbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Outcomes."""

    rows: list[Outcome]


_MOMENTS = "a moment from 1970 to 2199"
_predict = msgspec.json.Decoder(PredictRequest)
_feedback = msgspec.json.Decoder(FeedbackRequest)


def read_predict(body: bytes) -> PredictRequest:
    """Parse and bound a request. Raises ``Refusal``."""
    try:
        request = _predict.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None
    _bound(request.rows)
    if request.event_time is not None and not plausible(request.event_time):
        shown = str(request.event_time)
        message = f"event_time = {shown} is not accepted (accepted: {_MOMENTS})"
        raise Refusal(422, "invalid_field", message, field="event_time", value=shown, accepted=_MOMENTS)
    return request


def read_feedback(body: bytes, declared: Mapping[str, Bounds] = MappingProxyType({})) -> FeedbackRequest:
    """Parse and bound outcomes; ``declared`` are the numbers of ``model.yaml``. Raises ``Refusal``."""
    try:
        request = _feedback.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None
    _bound(request.rows)
    for place, row in enumerate(request.rows):
        if row.label not in (0.0, 1.0, None):
            raise invalid("label", row.label, "0 or 1", row=place)
        if row.label is None and not row.numbers:
            raise invalid("label", None, f"a label (0 or 1), or numbers ({_names(declared)})", row=place)
        _check_numbers(row.numbers, declared, place)
        if (row.key is None) == (row.request_id is None):
            raise invalid("key", row.key, "exactly one of key and request_id", row=place)
        if not plausible(row.known_at):
            raise invalid("known_at", str(row.known_at), _MOMENTS, row=place)
    return request


def _check_numbers(numbers: Mapping[str, float], declared: Mapping[str, Bounds], place: int) -> None:
    for name, value in numbers.items():
        if name not in declared:
            raise invalid(f"numbers.{name}", value, f"numbers that model.yaml declares: {_names(declared)}", row=place)
        low, high = declared[name]
        if not low <= value <= high:
            raise invalid(f"numbers.{name}", value, f"a number from {low:g} to {high:g}", row=place)


def _names(declared: Mapping[str, Bounds]) -> str:
    return ", ".join(sorted(declared)) or "none"


def microseconds(moment: datetime | None, now_us: int) -> int:
    """A moment as microseconds since 1970; without a zone it is UTC."""
    if moment is None:
        return now_us
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - _EPOCH).total_seconds()
    return round(seconds * 1_000_000)


def plausible(moment: datetime) -> bool:
    """Whether the log can file it: a day beyond the calendar's end has no folder."""
    return 0 <= microseconds(moment, 0) < _UNTIL_US


def moment(microseconds: int) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _bound(rows: Sequence[object]) -> None:
    if not 1 <= len(rows) <= MOST_ROWS:
        message = f"rows has {len(rows)} entries; accepted are 1 to {MOST_ROWS}"
        raise Refusal(413 if rows else 422, "row_count", message, accepted=f"1 to {MOST_ROWS} rows", value=len(rows))


def _malformed(error: Exception) -> Refusal:
    hint = "JSON has no NaN: send null." if "malformed" in str(error).lower() else ""
    kind = isinstance(error, msgspec.ValidationError)
    code, status = ("invalid_body", 422) if kind else ("malformed_json", 400)
    return Refusal(status, code, f"the body is not accepted: {error}. {hint}".rstrip())
