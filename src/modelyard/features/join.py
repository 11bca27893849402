"""The point-in-time join in plain pandas: the reference that Feast's join and the online store are held against."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from modelyard.config.project import ModelSpec
from modelyard.core.errors import IntegrityError, NotFound

STAMP = "event_timestamp"
"""The column of a view's rows that says from when on they hold."""


def point_in_time(spec: ModelSpec, rows: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows with the features of every view as they were at ``event_time``; same rows, same order.

    Of each entity the newest row with ``event_timestamp <= event_time`` counts, unless it is older than the view's
    time to live.

    Raises:
        NotFound: a view has no table.
        IntegrityError: a table holds two rows for one entity and moment, or rows were lost.
    """
    frame = rows.reset_index(drop=True)
    for view in spec.views:
        if view not in tables:
            raise NotFound("table of feature view", view, known=tables)
        frame = frame.join(_newest(spec, view, frame, tables[view]))
    if len(frame) != len(rows):
        raise IntegrityError(f"the point-in-time join made {len(frame)} rows of {len(rows)}")
    return frame


def _newest(spec: ModelSpec, view: str, rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    entity, ttl = spec.feature_views[view].entity, spec.feature_views[view].ttl_hours
    if table.duplicated([entity, STAMP]).any():
        raise IntegrityError(f"view {view} holds two rows for one {entity} and moment")
    names = list(spec.of(source=view))
    asked = rows[[spec.entities[entity], spec.source.event_time]].set_axis([entity, "asked"], axis=1)
    asked["asked"] = asked["asked"].astype("datetime64[us, UTC]")
    table = table[[entity, STAMP, *names]].astype({STAMP: "datetime64[us, UTC]"})
    merged = pd.merge_asof(
        asked.reset_index(names="place").sort_values("asked", kind="stable"),
        table.sort_values(STAMP, kind="stable"),
        left_on="asked",
        right_on=STAMP,
        by=entity,
        tolerance=pd.Timedelta(hours=ttl) if ttl else None,
    )
    return merged.set_index("place").sort_index()[names]
