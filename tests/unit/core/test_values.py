"""The values: strict at the edge, canonical in JSON, named by content."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelyard.core.clock import event_time
from modelyard.core.digest import canonical_json, digest_bytes, digest_file, digest_json
from modelyard.core.errors import ConfigError, NotFound
from modelyard.core.records import SemVer
from modelyard.core.verdict import Condition, Decision, Measurement, Outcome, Severity, Verdict, worst
from modelyard.core.window import Window

NOW = datetime(2013, 4, 9, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64


def decision(**changes: object) -> Decision:
    given = {"kind": "gates", "action": "ready", "model": "m", "subject": "s", "reasons": ("because",)}
    return Decision.model_validate({**given, "policy": DIGEST, "as_of": NOW, **changes})


def test_equal_values_have_equal_digests_whatever_the_time_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    assert decision(as_of=elsewhere).digest == decision().digest
    assert decision(action="blocked").digest != decision().digest


def test_json_goes_there_and_back() -> None:
    value = decision(verdicts=(Verdict(check="auc", outcome=Outcome.FAILED, reason="low"),))
    assert Decision.from_json(value.to_json()) == value
    assert Decision.from_json(value.to_json()).digest == value.digest


@pytest.mark.parametrize(
    "text",
    ['{"start":"2013-01-01T00:00:00Z","end":"2013-01-02T00:00:00Z","schema_version":2}',
     '{"start":"2013-01-01T00:00:00Z","end":"2013-01-02T00:00:00Z","more":1}',
     '{"start":"2013-01-01T00:00:00","end":"2013-01-02T00:00:00Z"}'],
)  # fmt: skip
def test_an_unknown_version_key_or_naive_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Window.from_json(text)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_no_nan_or_infinity_gets_into_a_measurement_or_a_digest(bad: float) -> None:
    with pytest.raises(ValidationError):
        Measurement(name="auc", value=bad)
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": bad})


def test_a_measurement_without_value_must_say_why() -> None:
    with pytest.raises(ValidationError, match="does not say why"):
        Measurement(name="auc", value=None)
    assert Measurement(name="auc", value=None, why="no labels yet").value is None


def test_a_decision_needs_a_reason() -> None:
    with pytest.raises(ValidationError):
        decision(reasons=())


@pytest.mark.parametrize(
    ("direction", "value", "holds"),
    [("at_most", 1.0, True), ("below", 1.0, False), ("at_least", 1.0, True), ("above", 1.0, False),
     ("at_most", 1.1, False), ("at_least", 0.9, False), ("below", 0.9, True), ("above", 1.1, True)],
)  # fmt: skip
def test_a_condition_holds_in_its_direction(direction: str, value: float, holds: bool) -> None:
    assert Condition.model_validate({"direction": direction, "bound": 1.0}).holds(value) is holds


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.ERROR])
def test_only_success_gets_past_a_blocker(outcome: Outcome) -> None:
    assert Verdict(check="c", outcome=outcome, reason="r").blocks
    assert not Verdict(check="c", outcome=outcome, reason="r", dry_run=True).blocks
    assert not Verdict(check="c", outcome=outcome, severity=Severity.WARNING, reason="r").blocks
    assert worst([Outcome.SUCCESSFUL, outcome]) is outcome


def test_nothing_checked_is_inconclusive() -> None:
    assert worst([]) is Outcome.INCONCLUSIVE


def test_severity_has_one_order() -> None:
    assert Severity.INFORMATIONAL.rank < Severity.WARNING.rank < Severity.BLOCKER.rank


def test_a_window_is_half_open_and_ordered() -> None:
    week = Window.last(timedelta(days=7), NOW)
    assert week.contains(NOW - timedelta(microseconds=1))
    assert not week.contains(NOW)
    with pytest.raises(ValidationError, match="start < end"):
        Window(start=NOW, end=NOW)


@given(st.integers(1, 400), st.integers(1, 50))
def test_splitting_a_window_loses_no_time(hours: int, step: int) -> None:
    window = Window(start=NOW, end=NOW + timedelta(hours=hours))
    parts = list(window.split(timedelta(hours=step)))
    assert parts[0].start == window.start
    assert parts[-1].end == window.end
    assert all(a.end == b.start for a, b in itertools.pairwise(parts))


def test_semantic_versions_order_by_number_and_not_by_letter() -> None:
    assert SemVer.parse("1.10.0") > SemVer.parse("1.9.9")
    assert str(SemVer.parse("1.2.3").bump("major")) == "2.0.0"
    with pytest.raises(ValueError, match="MAJOR"):
        SemVer.parse("1.2")


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_key_order_does_not_change_a_digest(data: dict[str, object]) -> None:
    assert digest_json(data) == digest_json(dict(reversed(list(data.items()))))


def test_a_file_and_its_bytes_have_one_digest(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 << 20))
    assert digest_file(path) == digest_bytes(path.read_bytes())


def test_the_clock_never_claims_what_was_not_replayed_yet() -> None:
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    ticks = [(wall, NOW), (wall + timedelta(seconds=10), NOW + timedelta(days=1))]
    assert event_time(ticks, wall + timedelta(seconds=9)) == NOW
    assert event_time(ticks, wall + timedelta(seconds=10)) == NOW + timedelta(days=1)
    assert event_time(ticks, wall - timedelta(seconds=1)) == wall - timedelta(seconds=1)
    assert event_time([], wall) == wall


def test_errors_name_what_was_found_and_what_was_meant() -> None:
    error = ConfigError("label.kind", "binari", ("binary",), where="model.yaml")
    assert str(error) == (
        "model.yaml: label.kind = 'binari' is not accepted (accepted: binary). Did you mean 'binary'?"
    )
    assert "Did you mean 'flights'?" in str(NotFound("model", "flight", known=["flights", "tests"]))
