"""Each thing that the demo is there to show is missed when it is not there."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.demo.verify import main, shortcomings

Json = dict[str, Any]


def rollout(release: str, outcome: str, strategy: str = "canary", challenger: int = 29) -> Json:
    return {
        "release": release,
        "outcome": outcome,
        "strategy": strategy,
        "stages": [{"weight": 5.0, "requests": {"champion": 476, "challenger": challenger}, "failed_requests": 0}],
    }


def approval(release: str, who: str) -> Json:
    return {"release": release, "who": who, "automatic": who == "policy", "answer": "approve"}


FINE: Json = {
    "champion": {"release": "drift", "version": 2},
    "retrainings": [
        {"release": "first", "trigger": "manual", "evidence": None},
        {"release": "drift", "trigger": "asset:modelyard://m/drift", "evidence": "sha256:e"},
        {"release": "bad", "trigger": "manual", "evidence": None},
    ],
    "approvals": [approval("drift", "policy"), approval("bad", "ann"), approval("bad", "bob")],
    "rollouts": [rollout("first", "promoted", "first", 0), rollout("drift", "promoted"), rollout("bad", "rolled_back")],
    "requests_total": 500,
    "requests_failed": 0,
}


def test_a_whole_demo_lacks_nothing() -> None:
    assert list(shortcomings(FINE)) == []


@pytest.mark.parametrize("strategy", ["first", "shadow", "revert"])
def test_a_rollout_that_gives_a_challenger_nothing_to_answer_needs_no_request(strategy: str) -> None:
    summary = copy.deepcopy(FINE)
    summary["rollouts"].insert(0, {"release": "old", "outcome": "promoted", "strategy": strategy, "stages": []})
    assert list(shortcomings(summary)) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: s["retrainings"][1].update(trigger="schedule"), "0 releases that drift asked for were promoted"),
        (lambda s: s["retrainings"][1].update(evidence=None), "0 releases that drift asked for were promoted"),
        (lambda s: s["rollouts"][1].update(outcome="running"), "0 releases that drift asked for were promoted"),
        (lambda s: s.update(champion=None), "the champion is None"),
        (lambda s: s["champion"].update(release="bad"), "the champion is bad"),
        (lambda s: s["rollouts"].pop(), "0 releases were rolled back"),
        (lambda s: s["retrainings"].pop(), "not the one bad version"),
        (lambda s: s["approvals"].pop(), "approved by 1 people"),
        (lambda s: s["approvals"][-1].update(answer="reject"), "approved by 1 people"),
        (lambda s: s["rollouts"][2]["stages"][0]["requests"].pop("challenger"), "without a request"),
        (lambda s: s.update(requests_failed=1), "1 of 500 requests failed"),
        (lambda s: s.update(requests_total=0), "0 of 0 requests failed"),
    ],
)
def test_what_is_missing_is_said(spoil: Callable[[Json], object], words: str) -> None:
    summary = copy.deepcopy(FINE)
    spoil(summary)
    assert any(words in line for line in shortcomings(summary))


def test_the_command_ends_with_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "summary.json"
    assert main([str(path)]) == 1
    assert "is not the summary of a demo" in capsys.readouterr().err
    path.write_text("{}")
    assert main([str(path)]) == 1
    path.write_text(json.dumps(FINE))
    assert main([str(path)]) == 0
    path.write_text(json.dumps({**FINE, "requests_failed": 3}))
    assert main([str(path)]) == 1
    assert "3 of 500 requests failed" in capsys.readouterr().err
    assert main([]) == 2
