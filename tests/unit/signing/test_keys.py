"""Keys in PEM files, as OpenSSL has them; the demo's is refused where it counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec

from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.signing.keys import MARK, Ed25519Signer, load_signer, load_trust, read_signer, read_trust

OURS, THEIRS = (Ed25519Signer.make(seed=bytes([n]) * 32) for n in (1, 2))
DEMO = Ed25519Signer.make(demo=True, seed=bytes([3]) * 32)


def settings(folder: Path, profile: str, private: str, trusted: str) -> Settings:
    made = Settings.from_env({"MODELYARD_ROOT": str(folder), "MODELYARD_PROFILE": profile})
    made.signing_key_file.parent.mkdir(parents=True)
    made.signing_key_file.write_text(private)
    made.trusted_keys_file.write_text(trusted)
    return made


def test_rfc_8032_signs_as_it_says() -> None:
    """RFC 8032, section 7.1, test 2."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    made = Ed25519Signer.make(seed=seed).sign(b"\x72").hex()
    assert made.startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613")


def test_keys_are_written_and_read_back(tmp_path: Path) -> None:
    here = settings(tmp_path, "production", OURS.private_pem(), OURS.trusted().pem() + THEIRS.trusted().pem())
    assert read_signer(here).key == OURS.key
    trust = read_trust(here)
    assert trust.keys == tuple(sorted((OURS.key, THEIRS.key)))
    assert trust.signer_of(b"x", THEIRS.sign(b"x")) == THEIRS.key
    assert trust.signer_of(b"x", DEMO.sign(b"x")) is None


@pytest.mark.parametrize("order", [(DEMO, OURS), (OURS, DEMO)])
def test_the_demos_key_is_for_the_demo_and_marks_no_other(tmp_path: Path, order: tuple[Ed25519Signer, ...]) -> None:
    here = settings(tmp_path, "demo", DEMO.private_pem(), "".join(one.trusted().pem() for one in order))
    assert read_signer(here).key == DEMO.key
    assert {one.id: one.demo for one in read_trust(here).all.values()} == {DEMO.key: True, OURS.key: False}
    production = here.model_copy(update={"profile": "production"})
    for read in (read_signer, read_trust):
        with pytest.raises(ConfigError, match="made by the demo for itself"):
            read(production)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "one unencrypted PEM private key"),
        (OURS.private_pem() * 2, "one unencrypted PEM private key"),
        (OURS.trusted().pem(), "one unencrypted PEM private key"),
        (
            ec.generate_private_key(ec.SECP256R1())
            .private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode(),
            "an Ed25519 key",
        ),
    ],
)  # fmt: skip
def test_what_is_no_signing_key_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as refused:
        load_signer(path)
    assert not [line for line in OURS.private_pem().splitlines()[1:-1] if line in str(refused.value)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MARK, "whole PEM blocks"),
        (OURS.trusted().pem() + OURS.private_pem(), "nothing else"),
        (re.sub(r"\nMC", "\nAA", OURS.trusted().pem()), "nothing else"),
        (THEIRS.trusted().pem() + OURS.trusted().pem()[:-5], "whole PEM blocks"),
    ],
)
def test_what_is_no_list_of_keys_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_trust(path)


def test_absent_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    here = Settings.from_env({"MODELYARD_ROOT": str(tmp_path)})
    for read, setting in ((read_signer, "MODELYARD_SIGNING_KEY_FILE"), (read_trust, "MODELYARD_TRUSTED_KEYS_FILE")):
        with pytest.raises(ConfigError, match=rf"{setting}.*absent.*modelyard keys make"):
            read(here)


def test_the_text_form_of_a_key_shows_no_more_than_its_id() -> None:
    assert repr(OURS) == f"Ed25519Signer({OURS.key[7:19]})"
