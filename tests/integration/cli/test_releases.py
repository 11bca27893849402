"""``modelyard release`` on a real ledger and real bundles."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
import yaml
from fixtures.bundles import SIGNATURE, write_manifest
from fixtures.release_world import NOW, World
from sqlalchemy import text
from typer.testing import CliRunner

from modelyard.cli import app
from modelyard.core.digest import digest_json, short
from modelyard.core.records import AnalysisRun, Release
from modelyard.core.verdict import Condition, Measurement, Outcome, Severity, Verdict
from modelyard.release.bundle import SIGNED

ROOT = Path(__file__).parents[3]
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
    assert "and signed" in run("verify", "toy@1")
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


def verdict(check: str, outcome: Outcome, severity: Severity, *measured: Measurement, dry_run: bool = False) -> Verdict:
    reason = f"because {check}"
    return Verdict(
        check=check, outcome=outcome, severity=severity, reason=reason, measurements=measured, dry_run=dry_run,
        category="quality", condition=Condition(direction="at_least", bound=0.5),
    )  # fmt: skip


def judged(world: World) -> tuple[Release, Release]:
    """A champion and a release that the gates let through with a failed warning, a dry run and an open question."""
    champion = world.add(1)
    world.ledger.releases.crown("toy", champion.digest, "r1", NOW)
    inputs = tuple(i.model_copy(update={"scale": 0.5}) if i.name == "wind" else i for i in SIGNATURE.inputs)
    release = world.add(2, signature=SIGNATURE.model_copy(update={"inputs": inputs}), overrides={"serving_units": {}})
    auc = Measurement(name="auc", value=0.71, low=0.69, high=0.73, n=1234, subject=release.digest)
    gates = world.decide(
        "gates", "ready", release.digest, champion.digest,
        verdicts=(
            verdict("auc_floor", Outcome.SUCCESSFUL, Severity.BLOCKER, auc),
            verdict("gap", Outcome.FAILED, Severity.WARNING),
            verdict("fairness", Outcome.FAILED, Severity.BLOCKER, dry_run=True),
            verdict("latency", Outcome.INCONCLUSIVE, Severity.INFORMATIONAL),
        ),
    )  # fmt: skip
    world.approve(release.digest, gates.digest, "ann", comment="looked at <b>slices</b>")
    return champion, release


def test_a_report_says_what_changed_on_what_evidence_who_agreed_and_what_is_open(world: World) -> None:
    champion, release = judged(world)
    shipped = yaml.safe_load((ROOT / "policies" / "rollout.yaml").read_text())
    (world.root / "policies").mkdir()
    (world.root / "policies" / "rollout.yaml").write_text(yaml.safe_dump(shipped | {"models": {}}))
    page, text = world.root / "report.html", world.root / "report.md"
    for file in (page, text):
        run("report", "toy@2", "--to", str(file))
    said = text.read_text()
    for expected in (
        "version 1 (1.1.0), champion when it was judged", "inputs.wind.scale: 1 -\\> 0.5 (-0.5)",
        "Ready: 1 of 4 checks succeeded", "warning gap: failed. because gap",
        "blocker (dry run) fairness: failed", "informational latency: inconclusive", "Changed by hand: serving\\_units",
        "| auc | all | this release | 0.71 | 0.69 to 0.73 (95%) | 1234 |", "| ann | approve |", "Not assessed yet.",
        f"version 1 (1.1.0), {short(champion.digest)}", "modelyard rollout abort toy", "Not begun", "never rehearsed",
        "Governance has not concluded", release.digest,
    ):  # fmt: skip
        assert expected in said, expected
    html = page.read_text()
    assert "looked at &lt;b&gt;slices&lt;/b&gt;" in html
    assert '<span class="bad">failed</span>' in html
    assert "looked at \\<b\\>slices" in said


def test_a_release_that_was_damaged_is_reported_as_such(world: World) -> None:
    judged(world)
    (world.bundle(2) / "model.onnx").write_bytes(b"another")
    run("report", "toy@2", "--to", str(world.root / "r.md"))
    said = (world.root / "r.md").read_text()
    assert "Integrity: model.onnx was changed" in said
    assert "The two could not be compared" in said


def test_a_report_on_nothing_yet_claims_nothing(world: World) -> None:
    world.add(1)
    (world.root / "policies").mkdir()
    (world.root / "policies" / "rollout.yaml").write_text("default: {}\n")
    run("report", "toy@1", "--to", str(world.root / "r.md"))
    said = (world.root / "r.md").read_text()
    for expected in ("The gates have not decided", "no champion to compare", "nothing: there is no earlier champion",
                     "No decision of the gates", "policy of rollouts cannot be read"):  # fmt: skip
        assert expected in said, expected


def test_a_rollout_and_its_looks_are_told_once_each(world: World) -> None:
    champion, release = judged(world)
    state = world.rollout(release, champion)
    for number, action in enumerate(("hold", "hold", "hold", "rollback", "rollback"), 1):
        world.ledger.rollouts.look(
            AnalysisRun(
                rollout=state.id, model="toy", stage=0, look=number, as_of=NOW, measurements=(), verdicts=(),
                action=action, reasons=(f"why {number}",), policy=digest_json("p"),  # type: ignore[arg-type]
            )
        )  # fmt: skip
    run("report", "toy@challenger", "--to", str(world.root / "r.md"))
    said = (world.root / "r.md").read_text()
    assert [f"why {n}" in said for n in range(1, 6)] == [True, False, False, True, True]
    assert "5 looks; shown are" in said
    assert "toy version 2: pending" in said


def test_a_report_goes_to_a_file_of_a_known_kind(world: World) -> None:
    world.add(1)
    assert "ends in .html or .md" in run("report", "toy@1", "--to", str(world.root / "r.pdf"), code=1)


def test_a_ledger_and_a_bundle_that_were_changed_alike_are_found_by_the_digest(world: World) -> None:
    """Whole in themselves, both of them: only the digest that the release was recorded under tells."""
    release = world.add(1)
    forged = release.model_copy(update={"author": "ann"})
    write_manifest(world.bundle(1), forged)
    with world.engine.begin() as db:
        db.execute(text("UPDATE releases SET body = CAST(:body AS jsonb)"), {"body": forged.to_json()})
    assert f"the ledger's manifest was changed: it is {forged.digest}" in run("verify", release.digest, code=1)


def test_a_release_from_before_is_signed_by_hand_and_that_is_entered(world: World) -> None:
    """The upgrade: an unsigned bundle, a gate decision and an answer that nobody has signed."""
    _, release = judged(world)
    (world.bundle(2) / SIGNED).unlink()
    with world.engine.begin() as db:
        db.execute(text("DELETE FROM attestations"))
    found = json.loads(run("verify", "toy@2", "--json", code=1))["faults"]
    assert [fault.partition(":")[0].partition(" (")[0] for fault in found] == [
        "signature", "the gates decision 'ready'", "the answer 'approve' of ann",
    ]  # fmt: skip
    asked = ("sign", "toy@2", "--by", "ben", "--why", "from before")
    assert "the manifest, the gates decision 'ready', the answer 'approve' of ann" in " ".join(run(*asked).split())
    assert "and signed, as are 2 attestations" in " ".join(run("verify", "toy@2").split())
    assert "All was signed already" in run(*asked)
    events = [e for _, e in world.ledger.journal.audit_log("toy") if e.action == "release.signed"]
    assert [(e.actor, e.reason, e.subject) for e in events] == [("ben", "from before", release.digest)]
    envelopes = json.loads(run("attestations", "toy@2", "--json"))
    said = json.loads(b64decode(envelopes[0]["payload"]))["predicate"]
    assert (said["actor"], said["afterwards"]["by"]) == ("ben", "ben")
    assert "approval" in run("attestations", "toy@2")


def test_a_damaged_bundle_is_not_signed(world: World) -> None:
    world.add(1)
    (world.bundle(1) / SIGNED).unlink()
    (world.bundle(1) / "model.onnx").write_bytes(b"another")
    assert "does not match its digest" in run("sign", "toy@1", "--by", "ben", "--why", "x", code=1)
    assert not (world.bundle(1) / SIGNED).exists()


def test_where_no_key_is_trusted_nothing_is_whole(world: World) -> None:
    world.add(1)
    (world.root / "var" / "trusted-keys.pem").unlink()
    said = " ".join(run("verify", "toy@1", code=1).split())
    assert "no signature can be verified: MODELYARD_TRUSTED_KEYS_FILE" in said


def test_a_new_key_is_brought_in_and_the_old_one_put_out(world: World) -> None:
    world.add(1)

    def keys(*arguments: str) -> str:
        result = runner.invoke(app, ["keys", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    (old,) = (one["key"] for one in json.loads(keys("show", "--json")) if one["signs"])
    keys("make")
    assert {one["signs"] for one in json.loads(keys("show", "--json"))} == {True, False}
    assert "is whole" in run("verify", "toy@1")
    assert "the manifest" in run("sign", "toy@1", "--by", "ben", "--why", "new key")
    keys("distrust", short(old))
    assert "is whole" in run("verify", "toy@1")
