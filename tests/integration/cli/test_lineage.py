"""``modelyard lineage`` from the gateway's own log and a real ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fixtures.release_world import SNAPSHOT, World
from sqlalchemy import text
from typer.testing import CliRunner

from modelyard.cli import app
from modelyard.core.digest import digest_json

runner = CliRunner()


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, ["lineage", *arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split()) if code else result.output


def of(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return found


def test_an_answer_leads_back_to_rows_decisions_and_people(world: World) -> None:
    cause = world.decide("governor", "retrain", "toy")
    admitted = world.decide("validation", "valid", SNAPSHOT.content)
    release = world.add(1, parts={"evidence": cause.digest, "feature_service": digest_json("service")})
    gates = world.decide("gates", "ready", release.digest)
    approval = world.approve(release.digest, gates.digest, "ann")
    concluded = world.decide("governance", "approve", release.digest, gates.digest)
    world.rollout(release, None)
    world.answered(release, "abc", ["UA1"])
    found = of("--request", "abc")
    (row,) = found["served"]
    assert (row["key"], row["score"], row["version"], row["replica"]) == ("UA1", 0.25, 1, "gateway-1")
    assert row["features"] == {"distance": 7.0, "carrier": "UA"}
    assert row["label"] is None
    (one,) = found["releases"]
    assert one["release"] == row["release"] == release.digest
    assert one["snapshot"]["window"] == SNAPSHOT.to_dict()["window"]
    assert (one["manifest"]["mlflow_run_id"], one["manifest"]["dvc_md5"]) == ("run-1", "0" * 32)

    assert [(d["kind"], d["action"]) for d in one["decisions"]] == [
        (d.kind, d.action) for d in (cause, admitted, gates, concluded)
    ]
    assert one["approvals"] == [approval.to_dict()]
    assert [(r["id"], r["role"], r["status"]) for r in one["rollouts"]] == [("toy-v1", "challenger", "pending")]
    assert one["gaps"] == []
    text_ = run("--request", "abc")
    for said in ("UA1", release.digest, "10 rows of", "ann", digest_json("service"), "toy-v1"):
        assert said in text_
    assert of("toy", "--version", "1")["releases"] == found["releases"]


def test_a_request_of_many_rows_has_them_all_and_each_by_its_own_id(world: World) -> None:
    old, new = world.add(1), world.add(2)
    world.answered(old, "abc", ["UA1", "UA2"])
    world.answered(new, "abcd", ["UA3"], version=2)
    world.answered(new, "abc.1.1", ["UA4"], version=2)
    assert [r["key"] for r in of("--request", "abc")["served"]] == ["UA1", "UA2"]
    assert [r["key"] for r in of("--request", "abc.1")["served"]] == ["UA2", "UA4"]
    assert [r["manifest"]["version"] for r in of("--request", "abcd")["releases"]] == [2]


def test_links_that_lead_nowhere_are_named(world: World) -> None:
    release = world.add(1, parts={"evidence": "sha256:" + "0" * 64})
    with world.engine.begin() as db:
        db.execute(text("DELETE FROM snapshots"))
    (one,) = of("toy", "--version", "1")["releases"]
    assert one["snapshot"] is None
    assert [gap.split()[0] for gap in one["gaps"]] == ["snapshot", "the", "no", "no", "no"]
    assert f"Gap: snapshot {release.snapshot} is not on record" in run("toy", "--version", "1")


def test_a_log_that_contradicts_the_ledger_is_an_error(world: World) -> None:
    release = world.add(1)
    world.answered(release, "abc", ["UA1"], version=7)
    world.answered(release, "lost", ["UA1"], release="sha256:" + "0" * 64)
    assert "the log says that toy version 7 answered abc" in run("--request", "abc", code=1)
    assert "no release 'sha256:000" in run("--request", "lost", code=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--request", "nobody"], "no request 'nobody'. Searched: the prediction log of toy."),
        (["--request", "a' OR 'b"], "no request"),
        (["toy", "--version", "9"], "no release 'toy@9'"),
        (["--version", "1"], "used together with MODEL"),
        (["toy"], "one of the two"),
        (["toy", "--version", "1", "--request", "x"], "one of the two"),
        (["tye", "--request", "x"], "Did you mean 'toy'"),
    ],
)
def test_what_cannot_be_found_is_said(world: World, arguments: list[str], says: str) -> None:
    world.answered(world.add(1), "abc", ["UA1"])
    assert says in run(*arguments, code=1)
