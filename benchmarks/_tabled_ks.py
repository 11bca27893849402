"""The Kolmogorov-Smirnov test as KSWIN needs it: at every row, for two samples of one size. For River's environment."""

from __future__ import annotations

import numpy as np


class TabledKs:
    """SciPy's two-sample test for samples of one size, with each p value asked for once: then it depends on the
    distance alone, and KSWIN asks for it at every row."""

    def __init__(self) -> None:
        from scipy import stats

        self._test, self._known = stats.ks_2samp, dict[tuple[int, int], float]()

    def ks_2samp(self, one: list[float], other: list[float], method: str) -> tuple[float, float]:
        """Distance and p value."""
        n = len(one)
        if len(other) != n:
            raise ValueError(f"samples of one size are wanted, got {n} and {len(other)}")
        both = np.concatenate([one, other])
        order = np.argsort(both, kind="stable")
        steps = np.cumsum(np.where(order < n, 1, -1))
        last_of_ties = np.append(np.diff(both[order]) > 0, True)
        distance = int(np.abs(steps[last_of_ties]).max())
        if (n, distance) not in self._known:
            self._known[n, distance] = float(self._test(one, other, method=method)[1])
        return distance / n, self._known[n, distance]
