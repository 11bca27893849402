"""The doctor's findings say how to mend what is wrong."""

from __future__ import annotations

from modelyard.config.settings import Settings
from modelyard.runtime.doctor import examine
from modelyard.runtime.environment import env_file
from modelyard.runtime.requirements import mismatches
from modelyard.runtime.secrets import load_or_make_secrets, secrets_folder


def findings(settings: Settings):
    return {found.check: found for found in examine(settings)}


def test_a_new_machine_is_well_and_nothing_is_made_by_looking(settings: Settings) -> None:
    found = findings(settings)
    assert {"python", "system", "disk", "git", "make", "packages", "postgres", "secrets", "platform"} <= set(found)
    assert found["postgres"].detail.startswith("postgres (PostgreSQL) 18")
    assert found["secrets"].ok
    assert found["platform"].ok
    assert not settings.home.exists()


def test_what_is_wrong_comes_with_the_way_to_mend_it(settings: Settings) -> None:
    load_or_make_secrets(settings.home)
    (secrets_folder(settings.home) / "postgres-admin").chmod(0o644)
    lock = settings.root / "requirements" / "requirements.lock"
    lock.parent.mkdir()
    lock.write_text("numpy==0.0.1\nno-such-package==1\n")
    found = findings(settings)
    assert not found["secrets"].ok
    assert "chmod -R go-rwx" in found["secrets"].mend
    assert not found["packages"].ok
    assert "make setup" in found["packages"].mend
    assert "no-such-package missing, not 1" in found["packages"].detail
    assert not env_file(settings.home).exists()
    for one in found.values():
        assert one.ok or one.mend


def test_the_lock_is_compared_with_what_is_installed(tmp_path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("pytest==1\n    # via x\ncolorama==0.4.6 ; sys_platform == 'win32'\n")
    (wrong,) = mismatches(lock)
    assert wrong.startswith("pytest ")
    assert wrong.endswith(", not 1")
