"""What counts as the same value on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.features.parity import FeatureParity, ParityPolicy, compare

POLICY = ParityPolicy(
    every_hours=1, window_hours=1, sample=1, min_rows=1, relative=1e-5, absolute=1e-6, max_differing=0, max_not_served=0
)
NAN, INF = float("nan"), float("inf")


def one(served: object, offline: object, *, kind: str = "numeric") -> FeatureParity:
    frames = [pd.DataFrame({"x": [value]}) for value in (served, offline)]
    kinds = {"numeric": ("x",), "categorical": ()} if kind == "numeric" else {"numeric": (), "categorical": ("x",)}
    return compare(*frames, **kinds, policy=POLICY)[0]


def counts(found: FeatureParity) -> tuple[int, int, int]:
    return found.differing, found.not_served, found.both_missing


@pytest.mark.parametrize(
    ("served", "offline", "wanted"),
    [
        (np.float32(0.1), 0.1, (0, 0, 0)),
        (0.10001, 0.1, (1, 0, 0)),
        (0.0, 1e-7, (0, 0, 0)),
        (1e6, 1e6 + 1, (0, 0, 0)),
        (NAN, NAN, (0, 0, 1)),
        (NAN, 1.0, (0, 1, 0)),
        (1.0, NAN, (1, 0, 0)),
        (INF, INF, (0, 0, 0)),
        (INF, -INF, (1, 0, 0)),
        (INF, 1.0, (1, 0, 0)),
        (INF, 1e300, (0, 0, 0)),  # beyond 32 bits a number is an infinity on both sides
    ],
)
def test_numbers(served: float, offline: float, wanted: tuple[int, int, int]) -> None:
    assert counts(one(served, offline)) == wanted


@pytest.mark.parametrize(
    ("served", "offline", "wanted"),
    [
        ("UA", "UA", (0, 0, 0)),
        ("UA", "ua", (1, 0, 0)),
        ("7", 7.0, (0, 0, 0)),
        (None, NAN, (0, 0, 1)),
        (None, "UA", (0, 1, 0)),
        ("UA", None, (1, 0, 0)),
    ],
)
def test_categories(served: object, offline: object, wanted: tuple[int, int, int]) -> None:
    assert counts(one(served, offline, kind="categorical")) == wanted


def test_the_example_is_for_a_person() -> None:
    assert one(NAN, 2.5).example == "served nothing, offline 2.5"
    assert one(1.0, 1.0).example == ""


def test_frames_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 served rows"):
        compare(
            pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0]}), numeric=["x"], categorical=[], policy=POLICY
        )
