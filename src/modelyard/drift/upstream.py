"""Upstream drift: what comes in. Columns, how many requests, and how old the newest landed row is.

Missing, invalid and unseen values are the governor's check ``inputs``, which pages. These ask for a look.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.core.verdict import Measurement, Outcome, Verdict
from modelyard.core.window import Window
from modelyard.drift.policy import UpstreamRule
from modelyard.drift.verdicts import advice

if TYPE_CHECKING:
    import pandas as pd

UPSTREAM = "upstream"
VOLUME, LANDING, VANISHED, RETYPED = "requests_per_day", "landing_age_hours", "vanished_columns", "retyped_columns"


def measure_volume(rows: pd.DataFrame, window: Window, *, why: str = "") -> Measurement:
    """``requests_per_day`` of the window, all versions together; ``low`` and ``high`` are its emptiest and fullest 24
    hours and no interval of confidence. ``why`` says that the window cannot be used."""
    about: dict[str, Any] = {"name": VOLUME, "unit": "requests", "window": window}
    days = int((window.end - window.start) / timedelta(days=1))
    if why or not days:
        return Measurement(value=None, why=why or "the window is shorter than a day", **about)
    since = (rows["event_time"] - window.start) / timedelta(days=1)
    each = np.bincount(since[(since >= 0) & (since < days)].astype(int), minlength=days)
    value = float(each.mean())
    return Measurement(value=value, low=float(each.min()), high=float(each.max()), n=int(each.sum()), **about)


def measure_landing(newest: datetime | None, as_of: datetime) -> Measurement:
    """``landing_age_hours``: how long before ``as_of`` the newest landed row became known."""
    about: dict[str, Any] = {"name": LANDING, "unit": "h"}
    if newest is None:
        return Measurement(value=None, why="no row has landed", **about)
    if newest > as_of:
        return Measurement(value=None, why="rows have landed since: how it stood then is not kept", **about)
    return Measurement(value=(as_of - newest) / timedelta(hours=1), **about)


def measure_schema(rows: pd.DataFrame, numeric: Iterable[str], categorical: Iterable[str]) -> tuple[Measurement, ...]:
    """How many features have no column (``vanished_columns``), or one of a type their kind does not have
    (``retyped_columns``: text for a number, a number for a category). ``evidence`` names them."""
    from pandas.api.types import is_numeric_dtype

    if rows.empty:
        return tuple(Measurement(name=n, value=None, why="no request in the window") for n in (VANISHED, RETYPED))
    wanted = dict.fromkeys(numeric, True) | dict.fromkeys(categorical, False)
    gone = [name for name in wanted if name not in rows]
    # A column in which every value is missing has no type of its own.
    present = [name for name in wanted if name in rows and rows[name].notna().any()]
    odd = [name for name in present if bool(is_numeric_dtype(rows[name])) is not wanted[name]]
    named = {VANISHED: gone, RETYPED: odd}
    return tuple(
        Measurement(name=n, value=float(len(found)), n=len(rows), evidence=", ".join(found))
        for n, found in named.items()
    )


def judge_upstream(measured: Iterable[Measurement], rule: UpstreamRule) -> Verdict:
    """Failed if anything did; inconclusive if anything is unknown; each is named with its number."""
    found = tuple(measured)
    said = [_judge(m, found, rule) for m in found if m.variant != "baseline"]
    wrong = [text for outcome, text in said if outcome is Outcome.FAILED]
    unknown = [text for outcome, text in said if outcome is Outcome.INCONCLUSIVE]
    if wrong:
        return advice(UPSTREAM, Outcome.FAILED, "; ".join([*wrong, *unknown]), *found)
    if unknown:
        return advice(UPSTREAM, Outcome.INCONCLUSIVE, "; ".join(unknown), *found)
    return advice(UPSTREAM, Outcome.SUCCESSFUL, "; ".join(text for _, text in said), *found)


def _judge(one: Measurement, found: tuple[Measurement, ...], rule: UpstreamRule) -> tuple[Outcome, str]:
    if one.value is None:
        return Outcome.INCONCLUSIVE, f"{one.name} is unknown: {one.why}"
    if one.name == VOLUME:
        return _volume(one.value, next((m for m in found if m.name == VOLUME and m.variant == "baseline"), None), rule)
    text = f"{one.name} {one.value:.0f}" + (f" ({one.evidence})" if one.evidence else "")
    bound = rule.landing_hours if one.name == LANDING else 0
    if bound is None:
        return Outcome.SUCCESSFUL, f"{text}, no bound set"
    return (Outcome.SUCCESSFUL, text) if one.value <= bound else (Outcome.FAILED, f"{text}, at most {bound}")


def _volume(now: float, then: Measurement | None, rule: UpstreamRule) -> tuple[Outcome, str]:
    """Beyond the share allowed, and outside of what any day of the baseline had: a Saturday is no incident."""
    if then is None or not then.value:
        why = then.why if then is not None and then.why else "the baseline has no requests"
        return Outcome.INCONCLUSIVE, f"volume is unknown beside the baseline: {why}"
    text = f"{VOLUME} {now:.0f}, baseline {then.value:.0f} ({then.low:.0f} to {then.high:.0f} a day)"
    usual = (then.low or 0.0) <= now <= (then.high or 0.0)
    wrong = abs(now / then.value - 1) > rule.volume_change and not usual
    return (Outcome.FAILED, f"{text}: more than {rule.volume_change:.0%} away") if wrong else (Outcome.SUCCESSFUL, text)
