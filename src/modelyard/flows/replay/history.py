"""A model's whole past as one frame: every row with its features as known when it was asked about, cut into weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelyard.config.project import Project
from modelyard.core.errors import EvidenceMissing
from modelyard.core.window import Window
from modelyard.data.frames import canonical, content_digest
from modelyard.data.source import read_source
from modelyard.features.join import point_in_time

if TYPE_CHECKING:
    import pandas as pd

BEGINNING, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
WEEK = timedelta(weeks=1)

Floats = npt.NDArray[np.float64]
Moments = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Past:
    """Labelled rows in the order in which they were asked about. Week 0 begins on the day of the first row, UTC."""

    project: Project
    frame: pd.DataFrame
    origin: datetime

    @cached_property
    def digest(self) -> str:
        """Names the rows and all of their features."""
        return content_digest(canonical(self.frame, self.project.spec.source.key), name=self.project.name)

    @cached_property
    def asked(self) -> Moments:
        """When each row was asked about, datetime64[us] in UTC, ascending."""
        return _moments(self.frame[self.project.spec.source.event_time])

    @cached_property
    def known(self) -> Moments:
        """When each outcome was known."""
        return _moments(self.frame[self.project.spec.source.known_at])

    @cached_property
    def label(self) -> Floats:
        """0 or 1."""
        return self.frame[self.project.spec.label.column].to_numpy(dtype=np.float64)

    @cached_property
    def columns(self) -> npt.NDArray[np.int64]:
        """For recalibration: [rows, 1 + categorical features], column 0 for all rows, then one for each category.

        A category that a model has not met yet has a column without rows, and so no shift.
        """
        found, size = [np.zeros(len(self.frame), dtype=np.int64)], 1
        for name in self.project.spec.of(kind="categorical"):
            codes, kinds = self.frame[name].astype("string").factorize(use_na_sentinel=False)
            found.append(codes + size)
            size += len(kinds)
        return np.stack(found, axis=1)

    @property
    def weeks(self) -> int:
        """How many whole weeks there are."""
        return int((self.asked[-1] - self.boundary(0)) / np.timedelta64(7, "D"))

    def start(self, week: int) -> datetime:
        """The moment at which a week begins."""
        return self.origin + week * WEEK

    def boundary(self, week: int) -> np.datetime64:
        """The same, as numpy has it."""
        return np.datetime64(self.start(week).replace(tzinfo=None), "us")

    def first(self, week: int) -> int:
        """The place of the first row of a week."""
        return int(np.searchsorted(self.asked, self.boundary(week)))

    def seen(self, week: int, days: float) -> tuple[pd.DataFrame, Window]:
        """What a training at the start of a week may see: rows of the last ``days`` whose outcome was known by then."""
        end = self.start(week)
        window = Window(start=max(self.origin, end - timedelta(days=days)), end=end)
        first = int(np.searchsorted(self.asked, np.datetime64(window.start.replace(tzinfo=None), "us")))
        rows = self.frame.iloc[first : self.first(week)]
        return rows[self.known[first : self.first(week)] <= self.boundary(week)], window


def read_past(project: Project) -> Past:
    """All rows of the model's source whose outcome is known at some time, with features joined point in time.

    Raises:
        EvidenceMissing: the source has no labelled row.
    """
    spec = project.spec
    rows = read_source(project, Window(start=BEGINNING, end=END))
    rows = rows[rows[spec.source.known_at].notna() & rows[spec.label.column].notna()]
    if rows.empty:
        raise EvidenceMissing(f"the source of {project.name} has no row whose outcome is known: nothing to replay")
    rows = rows.sort_values([spec.source.event_time, spec.source.key], kind="stable", ignore_index=True)
    first, last = (rows[spec.source.event_time].iloc[i].to_pydatetime() for i in (0, -1))
    if spec.views:
        build = project.code(spec.feature_builder)
        rows = point_in_time(spec, rows, build(rows, first - timedelta(days=1), last + timedelta(days=1)))
    return Past(project, rows, first.replace(hour=0, minute=0, second=0, microsecond=0))


def _moments(column: pd.Series) -> Moments:
    return np.asarray(column.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[us]")
