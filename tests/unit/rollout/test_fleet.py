"""The fleet's part of a look: what is lost or unknown holds, what differs fails, no edge is no obstacle."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from fixtures.rollouts import NOW, healthy_fleet

from modelyard.core.verdict import Outcome, Severity, Verdict
from modelyard.rollout import fleet

FINE, FAILED, OPEN = Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE


def judged(**changes: Any) -> dict[str, Verdict]:
    found = {(m.name, m.variant): m for m in healthy_fleet(**changes)}
    return {verdict.check: verdict for verdict in fleet.judge(found)}


def test_all_is_well() -> None:
    assert {check: v.outcome for check, v in judged().items()} == dict.fromkeys(
        ("replicas", "alike", "edge", "balance"), FINE
    )


@pytest.mark.parametrize(
    ("missing", "checks"),
    [
        ("replicas", {"replicas"}),
        ("replicas_alike", {"alike"}),
        ("edge", {"edge", "balance"}),
        ("edge_smoke", {"edge"}),
        ("least_share", {"balance"}),
    ],
)
def test_what_was_not_measured_is_no_pass(missing: str, checks: set[str]) -> None:
    for found in (judged(**{missing: None}), judged(**{missing: {"value": None, "why": "nobody answered"}})):
        assert {check for check, v in found.items() if v.outcome is OPEN and v.blocks} == checks
        assert not [v for v in found.values() if v.outcome is FAILED]


@pytest.mark.parametrize(
    ("change", "check", "outcome"),
    [
        ({"replicas": {"value": 1, "evidence": "http://b: refused"}}, "replicas", OPEN),
        ({"replicas": {"value": 0, "n": 0}}, "replicas", OPEN),
        ({"replicas_alike": {"value": 1, "evidence": "k: 0.1, 0.2"}}, "alike", FAILED),
        ({"edge_smoke": {"value": 1, "evidence": "the admin API answers 401"}}, "edge", OPEN),
        ({"least_share": {"value": 0.49}}, "balance", OPEN),
        ({"least_share": {"value": 0.5}}, "balance", FINE),
    ],
)
def test_only_answers_that_differ_are_held_against_the_release(
    change: dict[str, Any], check: str, outcome: Outcome
) -> None:
    verdict = judged(**change)[check]
    assert verdict.outcome is outcome
    assert next(iter(change.values())).get("evidence", "") in verdict.reason


def test_without_an_edge_its_checks_say_that_they_do_not_apply() -> None:
    found = judged(edge={"value": 0}, edge_smoke=None, least_share={"value": 0.0})
    for check in ("edge", "balance"):
        assert (found[check].outcome, found[check].severity) == (FINE, Severity.INFORMATIONAL)
        assert "not applicable, no edge is configured (MODELYARD_EDGE_URL)" in found[check].reason
    assert found["alike"].severity is Severity.BLOCKER


def frame(**rows: int) -> pd.DataFrame:
    names = [name.replace("_", "-") for name, number in rows.items() for _ in range(number)]
    return pd.DataFrame({"replica": names, "served_at": pd.Series([NOW] * len(names), dtype="datetime64[us, UTC]")})


def test_the_balance_is_that_of_the_stage() -> None:
    replicas = ["gateway-1", "gateway-2"]
    assert fleet.balance(frame(gateway_1=150, gateway_2=50), replicas, NOW).value == 0.5
    alone = fleet.balance(frame(gateway_1=150), replicas, NOW)
    assert (alone.value, alone.n, alone.evidence) == (0.0, 150, "gateway-1: 150, gateway-2: 0")
    few = fleet.balance(frame(gateway_1=50, gateway_2=49), replicas, NOW)
    assert few.value is None
    assert "99 rows are too few" in few.why
    assert fleet.balance(frame(gateway_1=150), replicas, NOW + timedelta(seconds=1)).value is None
    assert fleet.balance(pd.DataFrame({"served_at": []}), replicas, NOW).value is None
    assert fleet.balance(frame(gateway_1=150), [], NOW).value is None
