"""A bundle is whole or absent, and every byte of it is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures.bundles import graph, write_bundle_of
from fixtures.keys import KEY, STRANGER, TRUST

from modelyard.core.digest import canonical_json
from modelyard.core.errors import IntegrityError, Untrusted
from modelyard.core.records import Release
from modelyard.release.bundle import MANIFEST, SIGNED, publish_bundle, read_bundle, sign_bundle, signer_of
from modelyard.signing.dsse import countersign, opened, seal
from modelyard.signing.keys import NOBODY, Ed25519Signer, TrustedKeys
from modelyard.signing.statement import PAYLOAD_TYPE, Kind, sign_release, sign_statement


@pytest.fixture
def made(tmp_path: Path) -> tuple[Release, dict[str, bytes]]:
    release, arm = write_bundle_of(tmp_path / "made")
    return release, dict(read_bundle(arm.bundle).files)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_what_is_published_is_read_back(tmp_path: Path, made: tuple[Release, dict[str, bytes]], scheme: str) -> None:
    base = tmp_path.as_uri() if scheme == "file" else f"memory://{tmp_path.name}"
    uri = publish_bundle(base, *made, KEY)
    bundle = read_bundle(uri, made[0].digest)
    assert (bundle.release, dict(bundle.files)) == made
    assert publish_bundle(base, *made, KEY) == uri


def test_nothing_is_left_beside_a_published_bundle(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    publish_bundle(tmp_path.as_uri(), *made, KEY)
    (only,) = (tmp_path / made[0].model).iterdir()
    assert only.name == made[0].digest.removeprefix("sha256:")


def test_a_folder_without_a_manifest_is_mended(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    folder = tmp_path / made[0].model / made[0].digest.removeprefix("sha256:")
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"half")
    assert read_bundle(publish_bundle(tmp_path.as_uri(), *made, KEY)).release == made[0]


def test_files_that_the_release_does_not_name_are_not_published(
    tmp_path: Path, made: tuple[Release, dict[str, bytes]]
) -> None:
    with pytest.raises(IntegrityError, match="not those"):
        publish_bundle(tmp_path.as_uri(), made[0], made[1] | {"model.onnx": b"other"}, KEY)


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", MANIFEST])
def test_an_absent_file_is_refused(tmp_path: Path, made: tuple[Release, dict[str, bytes]], name: str) -> None:
    uri = publish_bundle(tmp_path.as_uri(), *made, KEY)
    Path(uri.removeprefix("file://"), name).unlink()
    with pytest.raises(IntegrityError, match="absent"):
        read_bundle(uri)


def test_a_changed_byte_is_refused(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    uri = publish_bundle(tmp_path.as_uri(), *made, KEY)
    path = Path(uri.removeprefix("file://"), "model.onnx")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError, match="does not match"):
        read_bundle(uri)


def test_another_release_than_expected_is_refused(tmp_path: Path, made: tuple[Release, dict[str, bytes]]) -> None:
    with pytest.raises(IntegrityError, match="not sha256:0"):
        read_bundle(publish_bundle(tmp_path.as_uri(), *made, KEY), "sha256:" + "0" * 64)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_what_is_published_is_signed_and_another_key_may_sign_it_too(
    tmp_path: Path, made: tuple[Release, dict[str, bytes]], scheme: str
) -> None:
    release = made[0]
    base = tmp_path.as_uri() if scheme == "file" else f"memory://{tmp_path.name}-signed"
    uri = publish_bundle(base, *made, KEY)
    assert read_bundle(uri, trust=TRUST).release == release
    assert signer_of(uri, release.digest, TRUST) == KEY.key
    new = TrustedKeys(STRANGER.trusted())
    with pytest.raises(Untrusted, match="not trusted here"):
        read_bundle(uri, trust=new)
    assert [sign_bundle(uri, release, STRANGER) for _ in range(2)] == [True, False]
    assert [signer_of(uri, release.digest, trust) for trust in (TRUST, new)] == [KEY.key, STRANGER.key]


def test_our_key_is_put_under_nothing_but_the_release_itself(tmp_path: Path) -> None:
    """Whoever can write where bundles lie leaves words of their own to be signed at the next change of keys."""
    release, arm = write_bundle_of(tmp_path)
    for forged in (sign_release(write_bundle_of(tmp_path / "evil", version=9)[0], STRANGER),
                   sign_statement("approval", release, {"answer": "approve"}, STRANGER)):  # fmt: skip
        (tmp_path / SIGNED).write_text(forged.to_json())
        with pytest.raises(Untrusted, match="says something else"):
            sign_bundle(arm.bundle, release, KEY)
        assert (tmp_path / SIGNED).read_text() == forged.to_json()


def test_a_broken_signature_of_our_key_is_mended(tmp_path: Path) -> None:
    release, arm = write_bundle_of(tmp_path)
    whole = sign_release(release, KEY)
    broken = whole.signatures[0].model_copy(update={"sig": sign_release(release, STRANGER).signatures[0].sig})
    (tmp_path / SIGNED).write_text(whole.model_copy(update={"signatures": (broken,)}).to_json())
    assert sign_bundle(arm.bundle, release, KEY)
    assert signer_of(arm.bundle, release.digest, TRUST) == KEY.key


def _swap(at: Path) -> None:
    """The whole bundle of another release, whose signature is that of the first."""
    signed = (at / SIGNED).read_bytes()
    write_bundle_of(at, onnx=graph(bias=1.0))
    (at / SIGNED).write_bytes(signed)


def _sign(at: Path, kind: Kind, signer: Ed25519Signer) -> None:
    release = Release.from_json((at / MANIFEST).read_bytes())
    (at / SIGNED).write_text(sign_statement(kind, release, {}, signer).to_json())


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "unsigned": (lambda at: (at / SIGNED).unlink(), "manifest.dsse.json is absent: nobody has signed it"),
    "by a stranger": (lambda at: _sign(at, "release", STRANGER), "which is not trusted here"),
    "another's signature": (_swap, "it was signed for release"),
    "another statement": (lambda at: _sign(at, "approval", KEY), "what was signed is 'https://modelyard/approval/v1'"),
    "no envelope": (lambda at: (at / SIGNED).write_text("{}"), "no DSSE envelope"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_no_trusted_key_has_signed_is_refused(tmp_path: Path, forgery: str) -> None:
    arm = write_bundle_of(tmp_path / "made")[1]
    do, says = FORGERIES[forgery]
    do(tmp_path / "made")
    with pytest.raises(Untrusted, match=says):
        read_bundle(arm.bundle, trust=TRUST)


def test_who_trusts_nobody_reads_nothing(tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="trusted: none"):
        read_bundle(write_bundle_of(tmp_path)[1].bundle, trust=NOBODY)


def test_a_statement_about_several_releases_signs_none(tmp_path: Path) -> None:
    """Fail closed: what else it is about is unknown here."""
    release, arm = write_bundle_of(tmp_path)
    body = json.loads(opened(sign_release(release, KEY), PAYLOAD_TYPE, TRUST)[0])
    body["subject"] *= 2
    sealed = seal(PAYLOAD_TYPE, canonical_json(body), KEY)
    (tmp_path / SIGNED).write_text(countersign(sealed, STRANGER).to_json())
    with pytest.raises(Untrusted, match="signed for release"):
        read_bundle(arm.bundle, trust=TRUST)
