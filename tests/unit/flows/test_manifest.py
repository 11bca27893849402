"""What a manifest names of owners, rules and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.config.policies import load_policy
from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.flows.manifest import POLICIES, surrounding_parts
from modelyard.release.versioning import MAJOR_PARTS

ROOT = Path(__file__).parents[3]
PARTS = {"params": "p", "training_frame": "f", "evaluation_window": "w"}


def parts(**changes: str) -> dict[str, str]:
    here = Settings.from_env({"MODELYARD_ROOT": str(ROOT)} | changes)
    return surrounding_parts(here, load_project("flight_delay", here), PARTS)


def test_policies_are_named_by_the_digests_that_decisions_cite() -> None:
    found, here = parts(), Settings.from_env({"MODELYARD_ROOT": str(ROOT)})
    for name, cls in POLICIES.items():
        assert found[f"policy_{name}"] == load_policy(cls, name, here, "flight_delay").digest
    assert {f.name for f in (ROOT / "policies").glob("*.yaml")} == {f"{name}.yaml" for name in POLICIES}
    assert found["rollout_plan"].startswith("canary 5% > ")
    assert (found["release_owner"], found["rollback_owner"], found["profile"]) == (
        "modelyard",
        "modelyard",
        "production",
    )
    assert not set(found) & {*PARTS, *MAJOR_PARTS}


def test_another_profile_or_image_is_another_configuration() -> None:
    demo = parts(MODELYARD_PROFILE="demo", MODELYARD_CONTAINER_IMAGE="yard:7")
    assert (demo["profile"], demo["container_image"]) == ("demo", "yard:7")
    assert demo["configuration"] != parts()["configuration"]
    assert demo["evaluation_set"] == parts()["evaluation_set"]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_cannot_be_read_is_said_to_be_so(tmp_path: Path, name: str) -> None:
    for file in (ROOT / "policies").glob("*.yaml"):
        (tmp_path / file.name).write_text("default: {no_such: 1}\n" if file.stem == name else file.read_text())
    found = parts(MODELYARD_POLICIES=str(tmp_path))
    assert found[f"policy_{name}"] == "unreadable"
    assert [key for key, value in found.items() if value == "unreadable"] == (
        ["policy_rollout", "rollout_plan"] if name == "rollout" else [f"policy_{name}"]
    )
