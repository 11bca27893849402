"""The policy file that is shipped: it loads, its defaults are the code's, and the demo only shortens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.drift.policy import DriftPolicy

ROOT = Path(__file__).parents[3]
SHORTER = {"length_hours", "step_hours", "traffic_hours", "label_hours", "cooldown_hours"}
"""Durations and numbers of looks: all that the demo may make smaller."""


def load(profile: str, policies: Path = ROOT / "policies", model: str = "any") -> DriftPolicy:
    env = {"MODELYARD_ROOT": str(ROOT), "MODELYARD_PROFILE": profile, "MODELYARD_POLICIES": str(policies)}
    return load_policy(DriftPolicy, "drift", Settings.from_env(env), model)


def leaves(value: dict[str, Any]) -> dict[str, Any]:
    nested = {k: leaves(v) if isinstance(v, dict) else {k: v} for k, v in value.items()}
    return {f"{k}.{i}" if i != k else k: v for k, inner in nested.items() for i, v in inner.items()}


def test_the_file_says_what_the_code_defaults_to() -> None:
    assert load("production").digest == DriftPolicy().digest


def test_what_is_tried_beside_changes_what_it_names_and_nothing_else() -> None:
    policy = load("production", model="flight_delay")
    tried = policy.beside["gain"]
    assert tried.retrain_on == "gain"
    assert tried.inputs == policy.inputs
    assert tried.restraint == policy.restraint.model_copy(update={"cooldown_hours": 336, "budget_days": 365})
    assert (tried.gain.gap_above, policy.gain.gap_above) == (0.08, None)
    assert tried.digest != policy.digest == policy.model_copy(update={"dry_run": {}}).digest


def test_flights_leave_out_the_gusts_that_only_windy_weeks_have() -> None:
    assert load("demo", model="flight_delay").inputs.ignore == ("wind_gust",)


def test_the_demo_only_shortens_durations_and_looks() -> None:
    before, after = (leaves(load(profile).model_dump(exclude={"dry_run"})) for profile in ("production", "demo"))
    changed = {key for key in before if before[key] != after[key]}
    assert changed
    assert {key.split(".")[-1] for key in changed} <= SHORTER
    assert all(after[key] < before[key] for key in changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: {calibration: {retrain_abov: 0.1}}", "Did you mean 'retrain_above'"),
        ("default: {windows: {needed: 9}}", "can never be reached"),
        ("defaults: {}", "Did you mean 'default'"),
        ("default: {dry_run: {x: {windows: {needed: 9}}}}", "can never be reached"),
        ("default: {dry_run: {x: {retrain_onn: gain}}}", "retrain_onn"),
        (
            "default: {retrain_on: gain, dry_run: {x: {gain: {step_hours: 24}}}}",
            r"step_hours = \[24, 168\] cannot be",
        ),
        ("profiles: {prod: {}}", "demo, production"),
    ],
)
def test_a_wrong_policy_is_refused_at_load(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "drift.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load("production", tmp_path)
