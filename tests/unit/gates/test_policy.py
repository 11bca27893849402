"""Policies that are misspelt, impossible or toothless are refused at load."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.core.verdict import Severity
from modelyard.gates.catalogue import MEASUREMENTS
from modelyard.gates.policy import GatePolicy

ROOT = Path(__file__).parents[3]


def load(text: str, folder: Path) -> GatePolicy:
    (folder / "gates.yaml").write_text(text)
    env = {"MODELYARD_ROOT": str(ROOT), "MODELYARD_POLICIES": str(folder)}
    return load_policy(GatePolicy, "gates", Settings.from_env(env), "flight_delay")


def one(gate: str) -> str:
    return f"default: {{first_release: skip, gates: {{it: {gate}}}}}"


COMPARISON = "measurement: auc_difference, condition: {direction: above, bound: 0}"


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{category: quality, measurement: auk, condition: {direction: at_least, bound: 0.7}}", "did you mean 'auc'"),
        ("{category: quality, measurement: auc}", "exactly one of condition and regression"),
        ("{category: quality, measurement: auc, condition: {direction: atleast, bound: 0.7}}", "at_least"),
        ("{category: quality, measurement: auc, condition: {direction: at_least, bound: 1.2}}", "can never hold"),
        ("{category: quality, measurement: auc, condition: {direction: above, bound: 1}}", "can never hold"),
        ("{category: quality, measurement: brier, condition: {direction: at_most, bound: 2}}", "always holds"),
        ("{category: quality, measurement: auc, condition: {direction: at_least, bound: 0}}", "always holds"),
        ("{category: quality, measurement: brier, condition: {direction: at_most, bound: 1}}", "always holds"),
        (
            "{category: latency, measurement: latency_p95_ms, condition: {direction: at_most, bound: -1}}",
            "can never hold",
        ),
        ("{category: kwality, measurement: auc, condition: {direction: at_least, bound: 0.7}}", "quality"),
        (
            "{category: quality, measurement: auc_difference, regression: {better: higher, tolerance: 0.1}}",
            "a difference to the champion already",
        ),
        (
            "{category: quality, measurement: auc, uses: low, regression: {better: higher, tolerance: 0.1}}",
            "has no meaning there",
        ),
        (
            "{category: quality, measurement: auc, dry_run: true, condition: {direction: at_least, bound: 0.7}}",
            "at least one gate must be a blocker",
        ),
        (
            "{category: quality, measurement: auc_difference, condition: {direction: at_least, bound: 0}}",
            "at least one gate must be a blocker",
        ),
        (
            "{category: quality, measurement: auc, when: first_release, condition: {direction: at_least, bound: 0.7}}",
            "apply to every candidate",
        ),
        (
            f"{{category: quality, when: first_release, {COMPARISON}}}",
            "a comparison cannot apply to it",
        ),
        ("{category: quality, measurement: auc, when: never, condition: {direction: at_least, bound: 0.7}}", "because"),
        (
            "{category: quality, measurement: auc, because: people, condition: {direction: at_least, bound: 0.7}}",
            "says why in `because`",
        ),
        (
            "{category: quality, measurement: auc, profiles: [nightly], condition: {direction: at_least, bound: 0.7}}",
            "apply to every candidate",
        ),
        (
            "{category: quality, measurement: auc, profiles: [weekly], condition: {direction: above, bound: 0}}",
            "nightly",
        ),
        ("{category: quality, measurement: auc, weight: -1, condition: {direction: at_least, bound: 0.7}}", "weight"),
        ("{category: quality, measurement: auc, slice: UA, condition: {direction: at_least, bound: 0.7}}", "slice"),
    ],
)
def test_refused(gate: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load(one(gate), tmp_path)


def test_no_gates_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gates"):
        load("default: {first_release: skip, gates: {}}", tmp_path)


def test_a_model_changes_one_field_of_one_gate(tmp_path: Path) -> None:
    shipped = (ROOT / "policies" / "gates.yaml").read_text()
    stricter = "    gates:\n      auc_first: {condition: {direction: at_least, bound: 0.7}}\n"
    floor = load(shipped.replace("    gates:\n      #", stricter + "      #"), tmp_path).gates["auc_first"]
    assert floor.condition is not None
    assert (floor.condition.bound, floor.min_n, floor.severity) == (0.7, 1000, Severity.BLOCKER)


def test_the_demo_asks_for_the_same_but_for_an_audit_that_it_may_be_unable_to_make() -> None:
    environments = [{"MODELYARD_ROOT": str(ROOT), "MODELYARD_PROFILE": p} for p in ("demo", "production")]
    loaded = [load_policy(GatePolicy, "gates", Settings.from_env(e), "flight_delay") for e in environments]
    demo, production = (policy.model_dump(mode="json") for policy in loaded)
    own = demo["gates"].pop("dependency_audit"), production["gates"].pop("dependency_audit")
    assert demo == production
    assert [(gate["severity"], gate["weight"]) for gate in own] == [("warning", 0.0), ("blocker", None)]
    assert {k: v for k, v in own[0].items() if k not in ("severity", "weight")} == {
        k: v for k, v in own[1].items() if k not in ("severity", "weight")
    }


def test_every_measurement_is_explained() -> None:
    assert all(known.meaning for known in MEASUREMENTS.values())
