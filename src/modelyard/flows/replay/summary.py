"""What a replay came to: a row per policy, family and start, with intervals by resampling blocks of weeks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.flows.replay.simulate import Walk

Floats = npt.NDArray[np.float64]
Key = tuple[str, str, int]
"""Policy, family, start."""

BASE = "weekly"
BLOCK = 4
REPLICATES = 2000
SEED = 0


def rows(walks: Mapping[Key, Sequence[Walk]], first: int, until: int) -> list[dict[str, Any]]:
    """A row for each policy, family and start; means over seeds. Weeks before ``first`` are left out of the losses."""
    return [_row(key, walks, first, until) for key in walks]


def means(walks: Mapping[Key, Sequence[Walk]], first: int, until: int) -> list[dict[str, Any]]:
    """A row for each policy and family: the mean over the starts, its interval from the same resampled weeks."""
    found = []
    for policy, family in dict.fromkeys((p, f) for p, f, _ in walks):
        keys = [k for k in walks if k[:2] == (policy, family)]
        parts = [_row(key, walks, first, until) for key in keys]
        excess = np.nanmean([_resampled(key, walks, first, until) for key in keys], axis=0)
        low, high = np.nanquantile(excess, [0.025, 0.975])
        named = {name: float(np.mean([p[name] for p in parts])) for name in _NUMBERS}
        found.append(
            {"policy": policy, "family": family, "starts": len(keys), **named, "most_refits": _most(keys, walks)}
            | {"excess_low": float(low), "excess_high": float(high)}
        )
    return found


_NUMBERS = ("refits", "turned_down", "backs", "recalibrations", "probes", "logloss", "excess_over_weekly")


def _most(keys: Sequence[Key], walks: Mapping[Key, Sequence[Walk]]) -> int:
    """The most refits of any one walk."""
    return max(len(w.refits) for key in keys for w in walks[key])


def _row(key: Key, walks: Mapping[Key, Sequence[Walk]], first: int, until: int) -> dict[str, Any]:
    policy, family, start = key
    mine = walks[key]
    ours, base, n = _weeks(mine, first), _weeks(walks[BASE, family, start], first), _counts(mine, first)
    low, high = np.nanquantile(_resampled(key, walks, first, until), [0.025, 0.975])
    return {
        "policy": policy,
        "family": family,
        "start_week": start,
        "seeds": len(mine),
        "weeks": f"{max(start, first)}-{until}",
        "refits": float(np.mean([len(w.refits) for w in mine])),
        "turned_down": float(np.mean([len(w.turned_down) for w in mine])),
        "backs": float(np.mean([len(w.backs) for w in mine])),
        "recalibrations": float(np.mean([w.recalibrations for w in mine])),
        "probes": float(np.mean([w.probes for w in mine])),
        "logloss": float(ours.sum() / n.sum()),
        "excess_over_weekly": float((ours - base).sum() / n.sum()),
        "excess_low": float(low),
        "excess_high": float(high),
        "refit_weeks": [list(w.refits) for w in mine],
    }


def _weeks(mine: Sequence[Walk], first: int) -> Floats:
    """The loss of each week, the mean over seeds."""
    loss: Floats = np.mean([w.loss for w in mine], axis=0)
    return loss[max(0, first - mine[0].start) :]


def _counts(mine: Sequence[Walk], first: int) -> npt.NDArray[np.int64]:
    return mine[0].rows[max(0, first - mine[0].start) :]


def _resampled(key: Key, walks: Mapping[Key, Sequence[Walk]], first: int, until: int) -> Floats:
    """The excess over weekly in each replicate of the calendar's weeks; the replicates are the same for every key.

    A circular block bootstrap (Politis and Romano 1992) over all weeks of the replay; a start counts the drawn weeks
    that it has lived through.
    """
    _, family, start = key
    begin = max(start, first)
    difference = _weeks(walks[key], first) - _weeks(walks[BASE, family, start], first)
    n = _counts(walks[key], first)
    place = _draws(_earliest(walks, first), until) - begin
    lived = place >= 0
    safe = np.where(lived, place, 0)
    total = np.where(lived, n[safe], 0).sum(axis=1)
    excess = np.where(lived, difference[safe], 0.0).sum(axis=1) / np.maximum(total, 1)
    return np.asarray(np.where(total > 0, excess, np.nan), dtype=np.float64)


def _earliest(walks: Mapping[Key, Sequence[Walk]], first: int) -> int:
    return max(first, min(start for _, _, start in walks))


def _draws(earliest: int, until: int) -> npt.NDArray[np.int64]:
    """Weeks drawn in blocks, [replicates, weeks]."""
    weeks = until - earliest + 1
    block = min(BLOCK, weeks)
    rng = np.random.default_rng(SEED)
    begins = rng.integers(0, weeks, size=(REPLICATES, -(-weeks // block)))
    places = (begins[:, :, None] + np.arange(block)) % weeks
    return np.asarray(places.reshape(REPLICATES, -1)[:, :weeks] + earliest, dtype=np.int64)
