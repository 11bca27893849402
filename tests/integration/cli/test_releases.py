"""``modelyard release`` on a real ledger and real bundles."""

from __future__ import annotations

import json

import pytest
from fixtures.bundles import SIGNATURE
from fixtures.release_world import NOW, World
from sqlalchemy import text
from typer.testing import CliRunner

from modelyard.cli import app
from modelyard.core.digest import digest_json, short

runner = CliRunner()


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, ["release", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_release_is_found_by_every_name_it_has(world: World) -> None:
    first, second = world.add(1), world.add(2)
    world.ledger.releases.crown("toy", first.digest, "r1", NOW)
    world.ledger.releases.crown("toy", second.digest, "r2", NOW)
    third = world.add(3)
    challenger = {"challenger": {"release": third.digest}}
    world.ledger.rollouts.open("r3", "toy", third.digest, challenger, NOW)
    names = {
        first.digest: [first.digest, short(first.digest), "toy@1", "toy@previous"],
        second.digest: ["toy@2", "toy@champion"],
        third.digest: ["toy@3", "toy@challenger"],
    }
    for digest, given in names.items():
        for name in given:
            assert json.loads(run("show", name, "--json"))["digest"] == digest
    assert first.digest in run("show", "toy@1")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("toy@9", "no release 'toy@9'"),
        ("toy@challenger", "no rollout is open"),
        ("toy@champion", "none was promoted"),
        ("toy@latest", "toy@challenger, toy@champion, toy@previous"),
        ("000000", "no release '000000'"),
    ],
)
def test_what_is_no_release_is_said(world: World, name: str, says: str) -> None:
    world.add(1)
    for command in ("show", "verify"):
        assert says in " ".join(run(command, name, code=1).split())


def test_a_whole_release_verifies_and_a_damaged_one_exits_with_one(world: World) -> None:
    release = world.add(1)
    assert "is whole: the manifest and 3 files" in run("verify", "toy@1")
    (world.bundle(1) / "model.onnx").write_bytes(b"another graph")
    (world.bundle(1) / "calibration.json").unlink()
    found = json.loads(run("verify", short(release.digest), "--json", code=1))
    assert not found["whole"]
    assert [fault.split()[0] for fault in found["faults"]] == ["calibration.json", "model.onnx"]
    assert "model.onnx was changed" in run("verify", "toy@1", code=1)


@pytest.mark.parametrize("name", ["toy@1", "toy@champion", ""])
def test_a_manifest_changed_in_the_database_is_found_by_every_name(world: World, name: str) -> None:
    release = world.add(1)
    world.ledger.releases.crown("toy", release.digest, "r1", NOW)
    with world.engine.begin() as db:
        db.execute(text("""UPDATE releases SET body = jsonb_set(body::jsonb, '{author}', '"ann"')"""))
    for command in ("verify", "show"):
        assert "was changed" in run(command, name or release.digest, code=1)


def test_a_snapshot_that_is_not_on_record_is_a_fault(world: World) -> None:
    world.add(1)
    with world.engine.begin() as db:
        db.execute(text("DELETE FROM snapshots"))
    assert "is not on record" in run("verify", "toy@1", code=1)


def test_two_releases_are_told_apart_in_words_and_for_programs(world: World) -> None:
    world.add(1)
    inputs = tuple(i.model_copy(update={"scale": 0.5}) if i.name == "wind" else i for i in SIGNATURE.inputs)
    world.add(2, signature=SIGNATURE.model_copy(update={"inputs": inputs}), parts={"params": digest_json("p")})
    assert "inputs.wind.scale: 1 -> 0.5" in run("diff", "toy@1", "toy@2")
    found = {c["what"]: c for c in json.loads(run("diff", "toy@1", "toy@2", "--json"))["changes"]}
    assert found["signature.json.inputs.wind.scale"]["after"] == 0.5
    assert found["parts.params"]["area"] == "params"
    assert "They are the same" in run("diff", "toy@1", "toy@1")
    (world.bundle(2) / "signature.json").write_text("{}")
    assert "does not match its digest" in run("diff", "toy@1", "toy@2", code=1)
