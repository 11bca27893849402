"""Counts and sums of events over trailing windows of time, by group, in one pass."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MICROSECOND = timedelta(microseconds=1)


class Rolling:
    """Events by group and moment, ready to be summed over any window.

    A question about a group at ``t`` with length ``l`` is answered from the events in the half-open window
    ``(t - l, t]``: an event counts from its own moment on. Sums of whole numbers are exact, so the answer does not
    depend on how much of the past is given beyond the window.

    >>> at = pd.to_datetime(["2013-01-01T10:00Z", "2013-01-01T11:30Z"])
    >>> events = Rolling(pd.Series(["a", "a"]), pd.Series(at), pd.DataFrame({"late": [1.0, 0.0]}))
    >>> ask = pd.Series(pd.to_datetime(["2013-01-01T10:30Z", "2013-01-01T12:00Z"]))
    >>> events.over(pd.Series(["a", "a"]), ask, timedelta(hours=1)).to_dict("list")
    {'count': [1.0, 1.0], 'late': [1.0, 0.0]}
    """

    def __init__(self, groups: pd.Series, at: pd.Series, values: pd.DataFrame) -> None:
        self._names = pd.Index(sorted(groups.unique()))
        moments, codes = micros(at), self._names.get_indexer(groups)
        order = np.lexsort((moments, codes))
        self._origin = int(moments.min()) if len(moments) else 0
        self._span = int(moments.max()) - self._origin + 1 if len(moments) else 1
        self._codes, self._at = codes[order].astype(np.int64), moments[order] - self._origin
        self._sums = {
            str(name): np.concatenate([[0.0], np.cumsum(column.to_numpy(dtype=np.float64)[order])])
            for name, column in values.items()
        }

    def over(self, groups: pd.Series, at: pd.Series, length: timedelta) -> pd.DataFrame:
        """``count`` and the sum of every value over ``(at - length, at]``; zeros where nothing happened."""
        codes = self._names.get_indexer(groups).astype(np.int64)
        until = micros(at) - self._origin
        high, low = self._place(codes, until), self._place(codes, until - length // _MICROSECOND)
        known = codes >= 0
        sums = {name: np.where(known, total[high] - total[low], 0.0) for name, total in self._sums.items()}
        return pd.DataFrame({"count": np.where(known, high - low, 0).astype(np.float64)} | sums, index=groups.index)

    def _place(self, codes: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
        # One sorted key of group and moment makes this a single binary search; moments outside the data are clipped to
        # just before and after it, so that they never reach into a neighbouring group.
        width = self._span + 1
        keys = self._codes * width + self._at + 1
        return np.asarray(np.searchsorted(keys, codes * width + np.clip(at + 1, 0, self._span), side="right"))


def micros(moments: pd.Series) -> NDArray[np.int64]:
    """Moments with a time zone as microseconds since 1970 in UTC."""
    if getattr(moments.dtype, "tz", None) is None:
        raise TypeError(f"moments need a time zone; {moments.name!r} is {moments.dtype}")
    naive = moments.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(naive.to_numpy(dtype="datetime64[us]").astype(np.int64))


def full_hours(after: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    """The full hours ``h`` with ``after < h <= until``.

    >>> hours = full_hours(pd.Timestamp("2013-01-01T10:00Z"), pd.Timestamp("2013-01-01T12:30Z"))
    >>> [str(h.time()) for h in hours]
    ['11:00:00', '12:00:00']
    """
    first = after.floor("h") + pd.Timedelta(hours=1)
    return pd.date_range(first, until.floor("h"), freq="h", unit="us")
