"""The policy file: the demo changes people and durations only, and what cannot work is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.governance.policy import POLICY_ACTOR, GovernancePolicy, identity

ROOT = Path(__file__).parents[3]


def load(profile: str) -> GovernancePolicy:
    env = {"MODELYARD_ROOT": str(ROOT), "MODELYARD_PROFILE": profile}
    return load_policy(GovernancePolicy, "governance", Settings.from_env(env), "flight_delay")


def test_the_demo_brings_its_people_and_shortens_the_time_to_answer() -> None:
    before, after = load("production").model_dump(), load("demo").model_dump()
    assert {key for key in before if before[key] != after[key]} == {"roles", "response_timeout_hours"}
    assert after["response_timeout_hours"] < before["response_timeout_hours"]
    assert len(load("demo").people) >= load("demo").quorum


def test_production_names_nobody_until_somebody_does() -> None:
    assert load("production").people == ()
    assert not load("production").may_approve("admin")


def build(**over: object) -> GovernancePolicy:
    return GovernancePolicy.model_validate(load("demo").model_dump() | over)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"quorum": 1}, "greater than or equal to 2"),
        ({"quorum": 4}, "can never be reached"),
        ({"roles": {"risk_owner": ("ada", "ADA", " ada")}}, "1 distinct people can never be reached"),
        ({"approvers": ("owner",)}, "approvers name no role: owner"),
        ({"approvers": ()}, "at least 1"),
        ({"roles": {"risk_owner": ("ada", POLICY_ACTOR)}}, "may not be called"),
        ({"roles": {"risk_owner": ("ada", " ")}}, "may not be called"),
        ({"high_risk": ("manual_override",)}, "first_release must stay"),
        ({"high_risk": ("first_release", "mood")}, "mood"),
        ({"response_timeout_hours": 0}, "greater than 0"),
    ],
)
def test_what_cannot_work_is_refused(over: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build(**over)


def test_a_person_of_two_roles_is_one_person() -> None:
    policy = build(approvers=("a", "b"), roles={"a": ("ada", "ben"), "b": ("Ada",)})
    assert len(policy.people) == 2


@pytest.mark.parametrize("spelling", ["Ada", " ada", "a da", "ａｄａ", "ADA\u200a"])
def test_spellings_of_one_name(spelling: str) -> None:
    assert identity(spelling) == "ada"
