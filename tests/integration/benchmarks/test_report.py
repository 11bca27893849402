"""What a result says of its targets, and that one part leaves the others as they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def report() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    import _report  # type: ignore[import-not-found]

    yield _report
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize(
    ("ours", "peer", "better", "target", "met"),
    [
        (20.0, 1.0, "higher", 20.0, True),
        (19.9, 1.0, "higher", 20.0, False),
        (25.0, 25.0, "lower", 1.0, True),
        (25.1, 25.0, "lower", 1.0, False),
        (0.0, 0.0, "lower", 1.0, True),  # none failed
        (1.0, 0.0, "lower", 1.0, False),  # one did
        (1.0, 2.0, "higher", None, None),
    ],
)
def test_a_target_is_met_or_not(
    report: Any, ours: float, peer: float, better: str, target: float | None, met: bool | None
) -> None:
    assert report.Row("figure", ours, "unit", "peer", peer, better, target).met is met


def test_a_part_is_written_beside_the_others(report: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    for part in ("one", "two", "one"):
        report.write_part(path, part, [report.Row("f", 0.0, "requests", "the limit", 0.0, "lower", 1)], report.Facts())
    found = json.loads(path.read_text())["parts"]
    assert list(found) == ["one", "two"]
    assert {"commit", "taken_at", "machine", "load_average", "others", "seconds"} <= set(found["one"])
    assert found["one"]["rows"][0]["met"] is True


def test_what_a_client_encodes_is_what_the_gateway_is_sent(report: Any) -> None:
    import _bundles  # type: ignore[import-not-found]

    for n in range(20):
        given, (numeric, codes) = _bundles.row(n), _bundles.values(n)
        words = [_bundles.signature().categorical[place].vocabulary for place in range(len(codes))]
        assert numeric == [given[f"n{place}"] for place in range(len(numeric))]
        for place, code in enumerate(codes):
            known = given[f"c{place}"] in words[place]
            assert (words[place][code - 1] == given[f"c{place}"]) if known else code == 0
