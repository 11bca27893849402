"""The policies that docs/rollout.md shows: each is in force as it stands there, over the shipped defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from modelyard.config.settings import Settings
from modelyard.rollout.policy import load_rollout_policy

ROOT = Path(__file__).parents[2]
SHOWN = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "rollout.md").read_text(), re.MULTILINE | re.DOTALL)
EXAMPLES = [example for example in SHOWN if "drill:" not in example]  # that one is of dags/schedules.yaml


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("profile", ["production", "demo"])
def test_an_example_is_a_policy(example: str, profile: str, tmp_path: Path) -> None:
    shipped = yaml.safe_load((ROOT / "policies" / "rollout.yaml").read_text())
    (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(shipped | yaml.safe_load(example)))
    given = {"MODELYARD_ROOT": str(ROOT), "MODELYARD_POLICIES": str(tmp_path), "MODELYARD_PROFILE": profile}
    policy = load_rollout_policy(Settings.from_env(given), "flight_delay")
    asked = yaml.safe_load(example)["models"]["flight_delay"]
    assert policy.strategy == asked.get("strategy", "canary")
    if "stages" in asked:
        assert [stage.weight for stage in policy.stages] == [stage["weight"] for stage in asked["stages"]]


def test_each_strategy_has_an_example() -> None:
    found = {yaml.safe_load(example)["models"]["flight_delay"].get("strategy", "canary") for example in EXAMPLES}
    assert found == {"canary", "blue_green", "shadow", "ab_test"}
