"""Which loaded versions a replica keeps: the last few, and for each model the one to go back to, for a time."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fixtures.bundles import MODEL, graph, write_bundle_of
from fixtures.keys import TRUST

from modelyard.core.errors import IntegrityError, Untrusted
from modelyard.ports.fleet import Arm
from modelyard.release.bundle import SIGNED
from modelyard.serving.loading import Versions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


class Loaded:
    """Versions of which two are kept by their number; a version whose bundle is gone can only be had if loaded."""

    def __init__(self, folder: Path) -> None:
        self.now, self._folder = NOON, folder
        self.versions = Versions(2, lambda: self.now, lambda: TRUST)

    def arm(self, version: int, model: str = MODEL) -> Arm:
        onnx = graph(bias=version / 100)
        return write_bundle_of(self._folder / f"{model}-{version}", version=version, model=model, onnx=onnx)[1]

    def has(self, arm: Arm, model: str = MODEL) -> bool:
        shutil.rmtree(arm.bundle.removeprefix("file://"), ignore_errors=True)
        try:
            return self.versions.get(model, arm).digest == arm.release
        except IntegrityError:
            return False


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return Loaded(tmp_path)


def test_the_last_few_are_kept(loaded: Loaded) -> None:
    one, two, three = (loaded.arm(n) for n in (1, 2, 3))
    for arm in (one, two, three):
        loaded.versions.get(MODEL, arm)
    assert (loaded.has(two), loaded.has(three), loaded.has(one)) == (True, True, False)


def test_what_is_pinned_outlasts_any_number_of_others_until_its_time(loaded: Loaded) -> None:
    one = loaded.arm(1)
    loaded.versions.pin(MODEL, one, LATER)  # which loads it
    for n in range(2, 8):
        loaded.versions.get(MODEL, loaded.arm(n))
    assert loaded.versions.pinned(MODEL) == one.release
    assert loaded.has(one)
    loaded.now = LATER
    assert loaded.versions.pinned(MODEL) == ""
    for n in (8, 9):
        loaded.versions.get(MODEL, loaded.arm(n))
    assert not loaded.has(one)


def test_one_is_pinned_per_model_and_memory_is_bounded(loaded: Loaded) -> None:
    one, two, other = loaded.arm(1), loaded.arm(2), loaded.arm(1, "other")
    loaded.versions.pin(MODEL, one, LATER)
    loaded.versions.pin("other", other, LATER)
    loaded.versions.pin(MODEL, two, LATER)
    for n in range(3, 9):
        loaded.versions.get(MODEL, loaded.arm(n))
    assert len(loaded.versions) == 2 + 2
    assert (loaded.has(two), loaded.has(other, "other"), loaded.has(one)) == (True, True, False)
    loaded.versions.pin(MODEL, None, None)
    assert loaded.versions.pinned(MODEL) == ""


def test_what_cannot_be_loaded_is_not_said_to_be_kept(loaded: Loaded) -> None:
    one = loaded.arm(1)
    shutil.rmtree(one.bundle.removeprefix("file://"))
    with pytest.raises(IntegrityError, match="absent"):
        loaded.versions.pin(MODEL, one, LATER)
    assert loaded.versions.pinned(MODEL) == ""


def test_what_nobody_trusted_has_signed_is_not_loaded(loaded: Loaded) -> None:
    one = loaded.arm(1)
    with pytest.raises(Untrusted, match="trusted: none"):
        Versions().get(MODEL, one)  # which was told of no key
    Path(one.bundle.removeprefix("file://"), SIGNED).unlink()
    with pytest.raises(Untrusted, match="nobody has signed it"):
        loaded.versions.get(MODEL, one)
    assert len(loaded.versions) == 0
