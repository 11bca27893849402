"""The summary is read back from what is kept; nothing in it comes from the demo's own memory."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from fixtures.demo import NOW, FakeAirflow, dag_run, ledger
from rich.console import Console
from unit.demo.test_story import rollout

from modelyard.core.digest import digest_json
from modelyard.core.errors import ConfigError
from modelyard.demo.gateway_client import Tally
from modelyard.demo.run import STAGES, Options, _show, summary_path
from modelyard.demo.summary import summarise, write_summary
from modelyard.rollout.state import Event

DIGEST = digest_json("fine")


def release(version: int = 2) -> Any:
    return SimpleNamespace(
        model="m", version=version, semver="1.1.0", mlflow_run_id="run", digest=DIGEST, overrides={}, author="a"
    )


@pytest.fixture
def summary() -> dict[str, Any]:
    later = NOW + timedelta(seconds=30)
    events = (
        Event(at=NOW, kind="entered", stage=0),
        Event(at=later, kind="entered", stage=1),
        Event(at=later + timedelta(seconds=9), kind="promoted", stage=1),
    )
    state = rollout("fine", "promoted").model_copy(update={"events": events, "reason": "all is well", "stage": 1})
    log = pd.DataFrame(
        {
            "served_at": pd.to_datetime([NOW, NOW + timedelta(seconds=29), later], utc=True),
            "variant": ["champion", "challenger", "challenger"],
        }
    )
    book = ledger(champion=release(), rollouts=[state], releases={DIGEST: release()})
    approval = SimpleNamespace(by="ann", at=NOW, release=DIGEST, automatic=False, answer="approve")
    book.journal.approvals = lambda _: [approval]
    plan = {"reason": "drift", "trigger": "asset", "evidence": "sha256:e", "as_of": "2013", "author": "governor"}
    airflow = FakeAirflow(results={("r1", "train"): DIGEST, ("r1", "plan"): plan})
    airflow.put(dag_run("r0", "success"))
    airflow.put(dag_run("r1", "success"))
    tally = Tally()
    tally.sent.update(predict=3, feedback=2)
    tally.failures.append((NOW.timestamp() + 1, "/predict", "503"))
    platform: Any = SimpleNamespace(ledger=book, predictions=SimpleNamespace(rollout=lambda *_: log))
    return summarise(platform, "m", airflow, tally, {"data": 1.5, "drift": 2.0})  # type: ignore[arg-type]


def test_says_who_is_champion_and_why_versions_were_made(summary: dict[str, Any]) -> None:
    assert summary["champion"]["version"] == 2
    assert {"name", "version", "semver", "mlflow_run_id"} <= summary["champion"].keys()
    assert [(r["reason"], r["trigger"], r["evidence"]) for r in summary["retrainings"]] == [
        ("drift", "asset", "sha256:e")
    ]
    assert summary["approvals"] == [
        {
            "who": "ann",
            "when": NOW.isoformat(),
            "release": DIGEST,
            "version": 2,
            "automatic": False,
            "answer": "approve",
        }
    ]


def test_counts_requests_by_stage_and_variant_and_every_failure(summary: dict[str, Any]) -> None:
    (one,) = summary["rollouts"]
    assert (one["outcome"], one["reason"]) == ("promoted", "all is well")
    assert [stage["weight"] for stage in one["stages"]] == [5.0, 100.0]
    assert [stage["requests"] for stage in one["stages"]] == [{"champion": 1, "challenger": 1}, {"challenger": 1}]
    assert [stage["failed_requests"] for stage in one["stages"]] == [1, 0]
    assert (summary["requests_total"], summary["requests_failed"]) == (5, 1)


def test_says_how_long_it_took(summary: dict[str, Any]) -> None:
    assert summary["wall_seconds"] == 3.5
    assert summary["stages"] == [{"name": "data", "seconds": 1.5}, {"name": "drift", "seconds": 2.0}]


def test_is_written_whole(summary: dict[str, Any], tmp_path: Path) -> None:
    path = summary_path(tmp_path)
    write_summary(path, summary)
    assert json.loads(path.read_text()) == summary


@pytest.mark.parametrize("terminal", [False, True])
def test_is_shown_word_for_word(summary: dict[str, Any], terminal: bool) -> None:
    # Without a terminal each row is one line, however narrow the console takes itself to be.
    console = Console(file=StringIO(), width=200 if terminal else 20, force_terminal=terminal, no_color=True)
    running: Any = SimpleNamespace(
        airflow_url="http://a", mlflow_url="http://m", gateway_urls=("http://g",), airflow_passwords={"admin": "pw"}
    )
    _show(console, summary, running)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for said in (
        "m version 2 (1.1.0)",
        "5, failed: 1",
        "drift [asset]",
        "approve by ann",
        "http://g/docs",
        "admin / pw",
    ):
        assert said in text


def test_a_demo_without_a_champion_can_be_told() -> None:
    platform: Any = SimpleNamespace(ledger=ledger(), predictions=None)
    told = summarise(platform, "m", FakeAirflow(), Tally(), {})  # type: ignore[arg-type]
    assert (told["champion"], told["retrainings"], told["rollouts"]) == (None, [], [])


def test_options_name_their_stages() -> None:
    assert Options(until="training").stages == ("services", "data", "features", "training")
    assert Options().stages == STAGES
    with pytest.raises(ConfigError, match="Did you mean 'rollback'"):
        Options(until="rolback")
