"""The shipped policy: the issue's defaults; the demo shortens durations and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.rollout.guardrails import GUARDS
from modelyard.rollout.policy import RolloutPolicy

ROOT = Path(__file__).parents[3]
DURATIONS = {"min_seconds", "max_seconds", "look_every_seconds"}


def policy(profile: str) -> RolloutPolicy:
    return load_policy(
        RolloutPolicy, "rollout", Settings.from_env({"MODELYARD_ROOT": str(ROOT), "MODELYARD_PROFILE": profile}), ""
    )


def test_the_defaults_are_those_that_were_asked_for() -> None:
    stages = policy("production").stages
    assert [s.weight for s in stages] == [5, 20, 50, 100]
    assert [s.error_ratio for s in stages] == [2.0, 2.0, 1.5, 1.2]
    assert [s.latency_p95_ratio for s in stages] == [1.5, 1.5, 1.3, 1.1]
    assert [s.min_seconds / 3600 for s in stages[:3]] == [6, 12, 24]


def test_the_demo_shortens_durations_and_nothing_else() -> None:
    def without(value: object) -> object:
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items() if key not in DURATIONS}
        return [without(inner) for inner in value] if isinstance(value, list | tuple) else value

    demo, production = policy("demo"), policy("production")
    assert without(demo.model_dump()) == without(production.model_dump())
    for short, long in zip(demo.stages, production.stages, strict=True):
        assert short.min_seconds <= long.min_seconds
        assert short.max_seconds <= long.max_seconds
    assert demo.look_every_seconds <= production.look_every_seconds


def test_the_level_is_shared_among_guardrails_and_replicas() -> None:
    guardrails = policy("production").guardrails
    assert 2 * sum(map(guardrails.limits(2).level, GUARDS)) == pytest.approx(guardrails.alpha)


@pytest.mark.parametrize(
    "change",
    [
        {"stages": [{"weight": 100, "min_seconds": 10, "max_seconds": 5}]},
        {"stages": [{"weight": 50}, {"weight": 20}, {"weight": 100}]},
        {"stages": [{"weight": 50}]},
        {"stages": []},
        {"strategy": "canry"},
        {"quality": {"margin": -0.1}},
        {"quality": {"alpha": 0.7}},
        {"on_deadline": "promote"},
        {"guardrails": {"dry_run": ["errors"]}},
        {"unknown": 1},
    ],
)
def test_an_impossible_policy_is_refused(change: dict[str, object]) -> None:
    base = yaml.safe_load((ROOT / "policies" / "rollout.yaml").read_text())["default"]
    for key, value in change.items():
        if key == "stages":
            value = [base["stages"][0] | stage for stage in value]  # type: ignore[attr-defined]
        base[key] = base[key] | value if isinstance(base.get(key), dict) else value
    with pytest.raises(ValidationError):
        RolloutPolicy.model_validate(base)
