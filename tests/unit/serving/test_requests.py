"""Bodies are parsed strictly and bounded."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.errors import Refusal
from modelyard.serving.requests import microseconds, read_feedback, read_predict


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"rows": [{"a": NaN}]}', 400, "malformed_json"),
        (b"[1]", 422, "invalid_body"),
        (b'{"rows": 1}', 422, "invalid_body"),
        (b'{"rows": [1]}', 422, "invalid_body"),
        (b'{"rows": [{}], "event_tiem": 1}', 422, "invalid_body"),
        (b'{"rows": [{}], "event_time": "yesterday"}', 422, "invalid_body"),
        (b'{"rows": []}', 422, "row_count"),
        (b'{"rows": [' + b"{}," * 1000 + b"{}]}", 413, "row_count"),
        (b'{"rows": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", 400, "malformed_json"),
        (b'{"rows": [{"a": "\xff"}]}', 400, "malformed_json"),
    ],
)
def test_a_body_that_is_not_accepted_says_why(body: bytes, status: int, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_predict(body)
    assert (refused.value.status, refused.value.code) == (status, code)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for read in (read_predict, read_feedback):
        with suppress(Refusal):
            read(body)


@pytest.mark.parametrize(
    "row",
    [
        '{"label": 2, "known_at": "2013-04-09T00:00:00Z", "key": "a"}',
        '{"label": 1, "known_at": "2013-04-09T00:00:00Z"}',
        '{"label": 1, "known_at": "2013-04-09T00:00:00Z", "key": "a", "request_id": "b"}',
        '{"label": 1, "key": "a"}',
        '{"known_at": "2013-04-09T00:00:00Z", "key": "a"}',
        '{"known_at": "2013-04-09T00:00:00Z", "key": "a", "numbers": {}}',
        '{"known_at": "2013-04-09T00:00:00Z", "key": "a", "numbers": {"rating": "5"}}',
        '{"label": 1, "known_at": "9999-12-31T23:59:59-12:00", "key": "a"}',
        '{"label": 1, "known_at": "2200-01-01T00:00:00Z", "key": "a"}',
        '{"label": 1, "known_at": "1969-12-31T23:59:59Z", "key": "a"}',
    ],
)
def test_an_outcome_needs_a_label_a_moment_and_one_address(row: str) -> None:
    with pytest.raises(Refusal):
        read_feedback(b'{"rows": [' + row.encode() + b"]}")


def test_numbers_are_those_that_are_declared_and_within_their_bounds() -> None:
    declared = {"rating": (1.0, 5.0), "cost": (0.0, 100.0)}

    def read(numbers: str) -> dict[str, float]:
        row = '{"known_at": "2013-04-09T00:00:00Z", "key": "a", "numbers": {' + numbers + "}}"
        return read_feedback(b'{"rows": [' + row.encode() + b"]}", declared).rows[0].numbers

    assert read('"rating": 5, "cost": 0.5') == {"rating": 5.0, "cost": 0.5}
    for numbers, field, accepted in (
        ('"stars": 5', "numbers.stars", "cost, rating"),
        ('"rating": 5.1', "numbers.rating", "from 1 to 5"),
        ('"rating": 0', "numbers.rating", "from 1 to 5"),
    ):
        with pytest.raises(Refusal) as refused:
            read(numbers)
        assert (refused.value.status, refused.value.detail["field"]) == (422, field)
        assert accepted in refused.value.detail["accepted"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-12:00"])
def test_a_prediction_is_asked_for_in_these_centuries(moment: str) -> None:
    with pytest.raises(Refusal, match="event_time") as refused:
        read_predict(b'{"rows": [{}], "event_time": "%b"}' % moment.encode())
    assert (refused.value.status, refused.value.detail["field"]) == (422, "event_time")
    assert read_predict(b'{"rows": [{}], "event_time": "2199-12-31T23:59:59Z"}').rows == [{}]


def test_a_moment_without_a_zone_is_utc() -> None:
    plain, aware = datetime(2013, 4, 9, 12), datetime(2013, 4, 9, 14, tzinfo=timezone(timedelta(hours=2)))  # noqa: DTZ001
    expected = int(datetime(2013, 4, 9, 12, tzinfo=UTC).timestamp() * 1e6)
    assert microseconds(plain, 0) == microseconds(aware, 0) == expected
    assert microseconds(None, 42) == 42
