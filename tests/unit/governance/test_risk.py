"""Risk from facts: each trigger on its own, and what cannot be told counts as risky."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.records import Release
from modelyard.core.verdict import Decision, Measurement, Outcome, Severity, Verdict
from modelyard.governance.page import body, title
from modelyard.governance.policy import GovernancePolicy
from modelyard.governance.risk import RiskAssessment, assess_risk, changed_fields

SETTINGS = Settings.from_env({"MODELYARD_ROOT": str(Path(__file__).parents[3]), "MODELYARD_PROFILE": "demo"})
POLICY = load_policy(GovernancePolicy, "governance", SETTINGS, "flight_delay")
SHA = "sha256:" + "e" * 64
NOW = datetime(2013, 6, 1, tzinfo=UTC)
TEMP = {"name": "temp", "kind": "numeric", "scale": 1.0, "offset": 0.0, "low": -60, "vocabulary": []}
DEST = {"name": "dest", "kind": "categorical", "scale": 1.0, "offset": 0.0, "low": None, "vocabulary": ["ATL", "BOS"]}
SIGNATURE: dict[str, Any] = {"model": "flight_delay", "key": "flight", "threshold": 0.5, "inputs": [TEMP, DEST]}


def release(version: int = 2, **over: object) -> Release:
    values = {
        "model": "flight_delay",
        "version": version,
        "semver": f"1.{version}.0",
        "mlflow_run_id": f"run-{version}",
        "code_commit": "c0ffee",
        "created_at": NOW,
        "as_of": NOW,
        "reason": "calibration gap",
        "author": "governor",
        "snapshot": SHA,
        "dvc_md5": "0" * 32,
        "files": {},
        "parts": {"architecture": "a1"},
    }
    return Release.model_validate(values | over)


def difference(value: float | None, name: str = "auc_difference", subject: str | None = None) -> Measurement:
    subject = subject or release().digest
    return Measurement(name=name, value=value, why="" if value is not None else "no rows", n=2000, subject=subject)


def checked(measurement: Measurement, outcome: Outcome = Outcome.SUCCESSFUL) -> Verdict:
    return Verdict(check="it", outcome=outcome, reason="-", measurements=(measurement,))


def united(outcome: Outcome = Outcome.SUCCESSFUL) -> Verdict:
    return checked(Measurement(name="auc", value=0.7, slice="carrier=UA", subject=release().digest), outcome)


def gates(*verdicts: Verdict, subject: str | None = None) -> Decision:
    return Decision(
        kind="gates",
        action="ready",
        model="flight_delay",
        subject=subject or release().digest,
        reasons=("fine",),
        verdicts=verdicts or (checked(difference(0.004)), united()),
        policy=SHA,
        as_of=NOW,
    )


def assess(
    candidate: Release | None = None,
    champion: Release | None = release(1),  # noqa: B008  a frozen value
    decision: Decision | None = None,
    after: dict[str, Any] = SIGNATURE,
    before: dict[str, Any] | None = SIGNATURE,
) -> RiskAssessment:
    candidate = candidate or release()
    given = decision or gates(checked(difference(0.004, subject=candidate.digest)), united(), subject=candidate.digest)
    return assess_risk(candidate, champion, given, POLICY, signature=after, champion_signature=before)


def triggers(found: RiskAssessment) -> list[str]:
    return [r.trigger for r in found.reasons]


def test_a_plain_refit_is_low_risk() -> None:
    found = assess()
    assert (found.level, found.reasons) == ("low", ())
    assert found.summary == "low risk: no trigger of the policy applies"


def test_a_first_release_is_high_risk() -> None:
    found = assess(champion=None, before=None)
    assert found.level == "high"
    assert triggers(found) == ["first_release"]


def test_a_unit_changed_at_serving_changes_the_signature() -> None:
    celsius = SIGNATURE | {"inputs": [TEMP | {"scale": 0.5556}, DEST]}
    found = assess(after=celsius)
    assert triggers(found) == ["changed_signature"]
    assert "temp.scale: 1.0 -> 0.5556" in found.summary


def test_new_categories_alone_are_no_change_of_the_signature() -> None:
    wider = SIGNATURE | {"inputs": [TEMP, DEST | {"vocabulary": ["ATL", "BOS", "LAX"]}]}
    assert assess(after=wider).level == "low"


@pytest.mark.parametrize(
    ("after", "field"),
    [
        (SIGNATURE | {"threshold": 0.4}, "threshold: 0.5 -> 0.4"),
        (SIGNATURE | {"key": "tailnum"}, "key: flight -> tailnum"),
        (SIGNATURE | {"inputs": [TEMP]}, "dest.kind: categorical -> absent"),
        (SIGNATURE | {"inputs": [DEST, TEMP]}, "order of inputs: 2 names -> 2 names"),
        (SIGNATURE | {"inputs": [TEMP | {"low": None}, DEST]}, "temp.low: -60 -> None"),
        (SIGNATURE | {"inputs": [TEMP, DEST | {"kind": "numeric"}]}, "dest.kind: categorical -> numeric"),
    ],
)
def test_each_change_of_the_contract_is_named(after: dict[str, Any], field: str) -> None:
    assert field in changed_fields(SIGNATURE, after)
    assert triggers(assess(after=after)) == ["changed_signature"]


def test_a_champion_whose_signature_is_unknown_makes_it_risky() -> None:
    assert triggers(assess(before=None)) == ["changed_signature"]


@pytest.mark.parametrize(
    "candidate", [release(semver="2.0.0"), release(parts={"architecture": "a2"}), release(parts={})]
)
def test_another_architecture_is_risky(candidate: Release) -> None:
    assert triggers(assess(candidate)) == ["new_architecture"]


def test_an_override_by_hand_is_risky() -> None:
    found = assess(release(overrides={"serving_units": {"temp": {"scale": 0.5}}}))
    assert triggers(found) == ["manual_override"]
    assert "serving_units" in found.summary


@pytest.mark.parametrize(
    "verdicts",
    [
        (checked(difference(-0.06)), united()),
        (checked(difference(0.1)), checked(difference(-0.051, "accuracy_difference")), united()),
        (checked(difference(None)), united()),
        (checked(difference(0.1, subject=SHA)), united()),
        (united(),),
    ],
)
def test_a_drop_or_no_comparison_is_risky(verdicts: tuple[Verdict, ...]) -> None:
    assert triggers(assess(decision=gates(*verdicts))) == ["accuracy_drop"]


@pytest.mark.parametrize(
    "verdicts", [(checked(difference(0.0)),), (checked(difference(0.0)), united(Outcome.INCONCLUSIVE))]
)
def test_a_critical_slice_that_is_not_in_order_or_not_seen_is_risky(verdicts: tuple[Verdict, ...]) -> None:
    assert triggers(assess(decision=gates(*verdicts))) == ["critical_slice"]


def test_a_trigger_that_the_policy_does_not_list_does_not_count() -> None:
    lenient = POLICY.model_copy(update={"high_risk": ("first_release",)})
    candidate = release(overrides={"params": {}})
    decision = gates(subject=candidate.digest)
    found = assess_risk(candidate, release(1), decision, lenient, signature=SIGNATURE, champion_signature=SIGNATURE)
    assert found.level == "low"


def test_the_page_shows_what_changed_what_failed_first_and_what_the_answer_binds() -> None:
    warned = Verdict(check="overfitting", outcome=Outcome.FAILED, reason="0.2 | too much")
    decision = gates(united(), warned, checked(difference(0.004)))
    found = assess(release(), after=SIGNATURE | {"threshold": 0.4}, decision=decision)
    text = body(release(), decision, found, POLICY, "http://mlflow.example/")
    assert title(release()) == "flight_delay 1.2.0 (version 2): approve this release?"
    assert text.index("| overfitting | blocker | failed | 0.2 \\| too much |") < text.index(
        "| it | blocker | successful"
    )
    for part in ("High risk", "2 people", "threshold: 0.5 -> 0.4", release().digest, decision.digest):
        assert part in text
    assert "http://mlflow.example/#/models/flight_delay/versions/2" in text


def test_the_question_shows_failed_blockers_before_failed_warnings() -> None:
    def failed(check: str, **over: object) -> Verdict:
        return checked(difference(0.1), Outcome.FAILED).model_copy(update={"check": check, **over})

    decision = gates(
        failed("tried", dry_run=True),
        failed("small", severity=Severity.WARNING),
        failed("grave"),
        checked(difference(0.1)),
    )
    text = body(release(), decision, assess(release(), decision=decision), POLICY, "")
    rows = [
        "| grave | blocker | failed",
        "| small | warning | failed",
        "| tried | blocker (dry run) | failed",
        "| it |",
    ]
    assert sorted(rows, key=text.index) == rows


class TestReadiness:
    def score(self, band: str, outcome: Outcome) -> Verdict:
        found = Measurement(name="score", value=72.5, subject=release().digest)
        severity = Severity.WARNING
        return Verdict(
            check="supervision", outcome=outcome, reason=f"{band}: do so", measurements=(found,), severity=severity
        )

    @pytest.mark.parametrize("band", ["at_once", "with_monitoring", "with_a_person"])
    def test_the_band_that_asks_for_a_person_is_high_risk(self, band: str) -> None:
        fine = (checked(difference(0.004)), united())
        found = assess(decision=gates(*fine, self.score(band, Outcome.SUCCESSFUL)))
        assert [r.trigger for r in found.reasons] == (["low_score"] if band == "with_a_person" else [])

    def test_the_question_names_score_and_supervision(self) -> None:
        decision = gates(self.score("with_a_person", Outcome.INCONCLUSIVE))
        asked = body(release(), decision, assess(decision=decision), POLICY, "")
        assert "**Readiness 72.5 of 100**, with a person: do so." in asked
        assert "Readiness" not in body(release(), gates(), assess(), POLICY, "")
