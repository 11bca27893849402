"""Kept state: the later one stays, whichever thread is quicker."""

from __future__ import annotations

from pathlib import Path

from modelyard.ports.fleet import Route
from modelyard.serving.control import Kept, StateFiles


def kept(generation: int) -> Kept:
    return Kept(generation=generation, route=Route(model="m", champion=None))


def test_what_was_handed_over_later_is_not_overwritten_by_earlier(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    earlier, later = files.writer("m", kept(1)), files.writer("m", kept(2))
    later()
    earlier()
    assert Kept.from_json(files.paths()[0].read_bytes()) == kept(2)
    files.writer("m", kept(3))()
    assert [Kept.from_json(p.read_bytes()).generation for p in files.paths()] == [3]
    assert list(tmp_path.iterdir()) == files.paths()
