"""Checkpoints: whole or absent, verified, the one before where the newest is damaged."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from modelyard.training.checkpoints import Checkpoints, State, remove_abandoned


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def state(number: int) -> State:
    import torch

    return State({"a": torch.full((3,), float(number)), "flag": torch.tensor(True)}, {"number": number, "lr": 0.1})


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_was_saved(tmp_path: Path) -> None:
    import torch

    checkpoints = Checkpoints(tmp_path / "new", 0)
    assert checkpoints.newest() is None
    checkpoints.save(state(1))
    found = checkpoints.newest()
    assert found is not None
    assert found.facts == {"number": 1, "lr": 0.1}
    assert torch.equal(found.tensors["a"], torch.ones(3))
    assert found.tensors["flag"].dtype == torch.bool


def test_it_is_due_by_the_clock_and_not_by_the_step(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, 30, clock=clock)
    clock.now = 29.9
    assert not checkpoints.due()
    clock.now = 30.0
    assert checkpoints.due()
    checkpoints.save(state(1))
    assert not checkpoints.due()
    clock.now = 60.0
    assert checkpoints.due()


def test_two_are_kept_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    for number in range(12):
        checkpoints.save(state(number))
    assert [name[:8] for name in kept(tmp_path)] == ["00000011", "00000012"]
    newest = Checkpoints(tmp_path, 0).newest()
    assert newest is not None
    assert newest.facts["number"] == 11


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty"])
def test_a_damaged_one_is_reported_and_the_one_before_is_taken(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    checkpoints.save(state(1))
    path = checkpoints.save(state(2))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut off": content[:-5], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        found = checkpoints.newest()
    assert found is not None
    assert found.facts["number"] == 1
    assert path.name in caplog.text
    # The next one does not push out the good one in favour of the damaged one.
    checkpoints.save(state(3))
    assert len(kept(tmp_path)) == 2
    assert not path.exists()


def test_when_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    for path in [checkpoints.save(state(1)), checkpoints.save(state(2))]:
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoints.newest() is None


def test_what_a_killed_process_left_half_written_is_not_looked_at(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    path = checkpoints.save(state(1))
    (tmp_path / ".123.part").write_bytes(path.read_bytes()[:40])
    found = checkpoints.newest()
    assert found is not None
    assert found.facts["number"] == 1
    checkpoints.clear()
    assert not tmp_path.exists()


def test_abandoned_trainings_are_removed_and_those_under_way_are_not(tmp_path: Path) -> None:
    for name in ("old", "new"):
        Checkpoints(tmp_path / name, 0).save(state(1))
    long_ago = 1_000_000.0
    for path in (*(tmp_path / "old").iterdir(), tmp_path / "old"):
        os.utime(path, (long_ago, long_ago))
    now = (tmp_path / "new").stat().st_mtime
    remove_abandoned(tmp_path, older_than_days=14, now=now)
    assert kept(tmp_path) == ["new"]
    remove_abandoned(tmp_path / "nowhere", older_than_days=14, now=now)
