"""Cumulative sums: when they fire on a seeded stream, and that they stay silent on a stable one."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.drift.cusum import cusum, two_sided


def test_it_is_pages_recursion() -> None:
    assert cusum([2.0, -5.0, 1.0, 1.0], 0.25) == (1.75, 0.0, 0.75, 1.5)
    assert cusum([], 0.25) == ()


def test_two_sided_sees_both_directions() -> None:
    values = [1.0, 1.0, -4.0]
    assert two_sided(values, 0.5) == tuple(map(max, cusum(values, 0.5), cusum([-v for v in values], 0.5)))
    assert two_sided(values, 0.5)[-1] == pytest.approx(3.5)


def test_the_run_length_in_control_is_the_known_one() -> None:
    """k = 0.5, h = 4 on standard normal values: 336 steps for one side (Siegmund 1985; Montgomery, table 9.3)."""
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(300):
        sums = np.array(cusum(rng.normal(size=6000), 0.5))
        lengths.append(int(np.argmax(sums > 4)) + 1)
    assert 285 < np.mean(lengths) < 390


def test_a_shift_of_one_sigma_is_found_within_ten_steps() -> None:
    rng = np.random.default_rng(1)
    found = [int(np.argmax(np.array(cusum(rng.normal(1.0, 1.0, 200), 0.5)) > 4)) + 1 for _ in range(300)]
    assert 7 < np.mean(found) < 10  # 8.4 in the tables
