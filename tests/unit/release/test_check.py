"""Whatever is done to a bundle is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.bundles import write_bundle_of
from fixtures.keys import STRANGER, TRUST

from modelyard.release.bundle import MANIFEST, SIGNED
from modelyard.release.check import faults_of
from modelyard.signing.statement import sign_release


def test_a_whole_bundle_has_no_faults(tmp_path: Path) -> None:
    release, arm = write_bundle_of(tmp_path / "made")
    assert faults_of(arm.bundle, release, TRUST) == ()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit": (lambda at: flip(at / "model.onnx"), "model.onnx was changed: it is sha256:"),
    "emptied": (lambda at: (at / "signature.json").write_bytes(b""), "signature.json was changed"),
    "gone": (lambda at: (at / "calibration.json").unlink(), "calibration.json is absent"),
    "added": (lambda at: (at / "evil.pkl").write_bytes(b"x"), "evil.pkl lies in the bundle and is not named"),
    "hidden deeper": (lambda at: _write(at / "more" / "model.onnx"), "more/model.onnx lies in the bundle"),
    "no manifest": (lambda at: (at / MANIFEST).unlink(), "manifest.json is absent"),
    "no json": (lambda at: (at / MANIFEST).write_bytes(b"{"), "manifest.json is no release manifest"),
    "unknown field": (lambda at: _edit(at, '"author"', '"trusted":true,"author"'), "release manifest (trusted)"),
    "another author": (lambda at: _edit(at, '"author":"test"', '"author":"ann"'), "was changed (author): it is"),
    "white space": (lambda at: _edit(at, ",", ", "), "not in canonical form"),
    "unsigned": (lambda at: (at / SIGNED).unlink(), "signature: manifest.dsse.json is absent"),
    "no signature": (lambda at: flip(at / SIGNED), "signature: "),
    "a folder": (lambda at: _folder(at / "model.onnx"), "model.onnx is absent"),
}


def _write(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"x")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _edit(at: Path, old: str, new: str) -> None:
    text = (at / MANIFEST).read_text()
    assert old in text
    (at / MANIFEST).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    release, arm = write_bundle_of(tmp_path / "made")
    do, says = DAMAGE[damage]
    do(tmp_path / "made")
    (fault,) = faults_of(arm.bundle, release, TRUST)
    assert says in fault


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    release, arm = write_bundle_of(tmp_path / "made")
    for name in ("gone", "one bit", "added"):
        DAMAGE[name][0](tmp_path / "made")
    assert len(faults_of(arm.bundle, release, TRUST)) == 3


def test_a_consistent_forgery_is_found_by_the_manifest_on_record(tmp_path: Path) -> None:
    """Another model with a manifest that names it: whole in itself, and not what was released."""
    release, _ = write_bundle_of(tmp_path / "made")
    _, forged = write_bundle_of(tmp_path / "forged", onnx=b"another graph")
    faults = faults_of(forged.bundle, release, TRUST)
    assert [fault.split()[0] for fault in faults] == ["manifest.json", "model.onnx", "signature:"]
    assert "was changed (files)" in faults[0]


@pytest.mark.parametrize("uri", ["file:///nowhere/at/all", "memory://nowhere", "gopher://x/y"])
def test_a_place_that_cannot_be_read_is_a_fault(tmp_path: Path, uri: str) -> None:
    release, _ = write_bundle_of(tmp_path / "made")
    assert len(faults_of(uri, release, TRUST)) == 1


def test_a_signature_by_a_stranger_is_none(tmp_path: Path) -> None:
    release, arm = write_bundle_of(tmp_path)
    (tmp_path / SIGNED).write_text(sign_release(release, STRANGER).to_json())
    (fault,) = faults_of(arm.bundle, release, TRUST)
    assert fault.startswith("signature: it is signed by key")
