"""A training has its folder to itself; an interrupted one leaves it, a finished one does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.core.errors import Unavailable
from modelyard.flows.resuming import resuming

KEY = "sha256:" + "a" * 64


def test_the_folder_outlives_an_interruption_and_is_removed_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 64)

    def cut_off() -> None:
        with resuming(tmp_path, KEY, 0.0) as found:
            (found / "kept").write_text("state")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    with resuming(tmp_path, KEY, 0.0) as again:
        assert again == folder
        assert (again / "kept").read_text() == "state"
    assert not folder.exists()


def test_a_second_process_is_told_to_try_again(tmp_path: Path) -> None:
    with (
        resuming(tmp_path, KEY, 0.0),
        pytest.raises(Unavailable, match="another process"),
        resuming(tmp_path, KEY, 0.0, wait_seconds=0),
    ):
        pass
    with resuming(tmp_path, KEY, 0.0), resuming(tmp_path, "sha256:" + "b" * 64, 0.0, wait_seconds=0):
        pass
