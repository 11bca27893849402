"""The key that signs releases: made once, changed by hand, and never the demo's in production."""

from __future__ import annotations

import stat

import pytest

from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError, Conflict, NotFound
from modelyard.runtime.release_keys import change_key, distrust, ensure_keys
from modelyard.signing.keys import load_signer, load_trust, read_signer, read_trust


def test_made_once_for_its_owner_alone(settings: Settings) -> None:
    ensure_keys(settings)
    first = load_signer(settings.signing_key_file)
    assert stat.S_IMODE(settings.signing_key_file.stat().st_mode) == 0o600
    assert load_trust(settings.trusted_keys_file).keys == (first.key,)
    ensure_keys(settings)
    assert read_signer(settings).key == first.key
    settings.trusted_keys_file.unlink()
    ensure_keys(settings)
    assert read_trust(settings).keys == (first.key,)


def test_what_the_demo_made_does_not_go_to_production(settings: Settings) -> None:
    demo = settings.model_copy(update={"profile": "demo"})
    ensure_keys(demo)
    old = load_signer(demo.signing_key_file)
    assert old.demo
    with pytest.raises(ConfigError, match="modelyard keys make"):
        ensure_keys(settings)
    new = change_key(settings)
    assert not new.demo
    with pytest.raises(ConfigError, match=f"modelyard keys distrust {old.key[7:19]}"):
        ensure_keys(settings)
    assert distrust(settings, old.key[7:13]).id == old.key
    ensure_keys(settings)
    assert read_trust(settings).keys == (new.key,)


def test_a_new_key_signs_and_the_old_one_is_believed_until_it_is_not(settings: Settings) -> None:
    ensure_keys(settings)
    old = load_signer(settings.signing_key_file)
    new = change_key(settings)
    assert read_signer(settings).key == new.key != old.key
    trust = read_trust(settings)
    assert {trust.signer_of(b"x", one.sign(b"x")) for one in (old, new)} == {old.key, new.key}
    distrust(settings, old.key)
    assert read_trust(settings).signer_of(b"x", old.sign(b"x")) is None


def test_the_key_that_signs_stays_trusted(settings: Settings) -> None:
    ensure_keys(settings)
    old = load_signer(settings.signing_key_file).key
    with pytest.raises(Conflict, match="the only trusted one"):
        distrust(settings, old)
    with pytest.raises(Conflict, match="signs now"):
        distrust(settings, change_key(settings).key)
    for unknown in ("", "xyz"):
        with pytest.raises(NotFound, match=r"no trusted key"):
            distrust(settings, unknown)


@pytest.mark.parametrize("field", ["signing_key_file", "trusted_keys_file"])
def test_nothing_is_made_where_somebody_else_keeps_it(settings: Settings, field: str) -> None:
    elsewhere = settings.home.parent / "elsewhere"
    with pytest.raises(ConfigError, match="absent"):
        ensure_keys(settings.model_copy(update={field: elsewhere}))
    assert not elsewhere.exists()
