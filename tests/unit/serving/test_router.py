"""The split is stable for ever, exact within chance, nested, and salted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.router import BUCKETS, Split, bucket, to_challenger

KEYS = [f"2013-04-09-UA{n}" for n in range(20_000)]


@pytest.mark.parametrize(
    ("salt", "key", "expected"),
    [
        ("sha256:00", "UA1545", 5322),
        ("sha256:01", "UA1545", 6882),
        ("", "", 5818),
        ("s", "ключ", 4989),
        ("s", "k\0", 5178),
    ],
)
def test_known_vectors_hold_on_every_machine_and_version(salt: str, key: str, expected: int) -> None:
    assert bucket(salt, key) == expected


@given(salt=st.text(), key=st.text(), low=st.integers(0, BUCKETS), high=st.integers(0, BUCKETS))
def test_ramping_up_only_moves_keys_forward(salt: str, key: str, low: int, high: int) -> None:
    low, high = sorted((low, high))
    if to_challenger(salt, key, low):
        assert to_challenger(salt, key, high)


@given(salt=st.text(), key=st.text())
def test_nobody_at_zero_and_everybody_at_all(salt: str, key: str) -> None:
    assert 0 <= bucket(salt, key) < BUCKETS
    assert not to_challenger(salt, key, 0)
    assert to_challenger(salt, key, BUCKETS)


@pytest.mark.parametrize("weight", [100, 500, 2000, 5000, 9900])
def test_the_share_is_the_weight(weight: int) -> None:
    share = sum(to_challenger("a", key, weight) for key in KEYS) / len(KEYS)
    expected = weight / BUCKETS
    # Five standard errors of a binomial share.
    assert abs(share - expected) < 5 * (expected * (1 - expected) / len(KEYS)) ** 0.5


def test_another_release_begins_with_other_keys() -> None:
    first = {key for key in KEYS if to_challenger("a", key, 500)}
    second = {key for key in KEYS if to_challenger("b", key, 500)}
    assert len(first & second) / len(first) < 0.1


@given(salt=st.text(), keys=st.lists(st.text()), weight=st.integers(0, BUCKETS))
def test_many_keys_are_split_as_each_is(salt: str, keys: list[str], weight: int) -> None:
    assert Split(salt, weight).theirs(keys) == [n for n, key in enumerate(keys) if to_challenger(salt, key, weight)]


@pytest.mark.parametrize("key", KEYS[:200])
def test_the_split_is_exact_at_the_bucket_itself(key: str) -> None:
    at = bucket("a", key)
    assert Split("a", at).theirs([key]) == []
    assert Split("a", at + 1).theirs([key]) == [0]
