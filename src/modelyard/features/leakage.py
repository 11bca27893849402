"""Looks for the future in a training frame: features are made again with only what was known at the time.

A sampled moment's rows are joined to views that the builder makes from nothing but the rows that were known at that
moment. Where the frame says something else, it knew more than serving could have known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from modelyard.config.project import Project
from modelyard.core.errors import EvidenceMissing
from modelyard.features.join import point_in_time


@dataclass(frozen=True)
class Leak:
    """A feature of a row that could not have been known: what the frame says, what was known."""

    key: str
    feature: str
    framed: object
    known: object

    def __str__(self) -> str:
        return f"{self.key}: {self.feature} is {self.framed!r}; at the time of asking it was {self.known!r}"


@dataclass(frozen=True)
class LeakReport:
    """How many values were made again, and which of them differ."""

    values: int
    leaks: tuple[Leak, ...]


def find_leaks(
    project: Project, frame: pd.DataFrame, landed: pd.DataFrame, moments: int, generator: np.random.Generator
) -> LeakReport:
    """Make the view features of all rows of some sampled moments again, and compare.

    ``frame`` is a training frame (rows with features), ``landed`` all landed rows, also those known only later: they
    are what a leak would come from.

    Raises:
        EvidenceMissing: the frame has no rows, or the model no views: nothing could be compared.
    """
    spec = project.spec
    names = [name for view in spec.views for name in spec.of(source=view)]
    if frame.empty or not names:
        raise EvidenceMissing(f"{spec.name}: no view features to make again, so no statement about leaks")
    asked = frame[spec.source.event_time]
    distinct = np.sort(asked.unique())
    chosen = generator.choice(len(distinct), size=min(moments, len(distinct)), replace=False)
    leaks: list[Leak] = []
    values = 0
    for moment in distinct[np.sort(chosen)]:
        framed = frame[asked == moment].reset_index(drop=True)
        leaks += _compare(project, framed, _known(project, framed, landed, moment.to_pydatetime()), names)
        values += len(framed) * len(names)
    return LeakReport(values=values, leaks=tuple(leaks))


def _known(project: Project, rows: pd.DataFrame, landed: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    spec = project.spec
    past = landed[landed[spec.source.known_at] <= moment]
    names = [name for view in spec.views for name in spec.of(source=view)]
    if past.empty:
        return rows.assign(**dict.fromkeys(names))
    tables = project.code(spec.feature_builder)(past, None, moment)
    return point_in_time(spec, rows.drop(columns=names), tables)


def _compare(project: Project, framed: pd.DataFrame, known: pd.DataFrame, names: list[str]) -> list[Leak]:
    keys = framed[project.spec.source.key].astype(str)
    leaks = []
    for name in names:
        ours, theirs = framed[name], known[name]
        both_missing = ours.isna() & theirs.isna()
        differs = (ours != theirs) & ~both_missing
        leaks += [Leak(keys[i], name, ours[i], theirs[i]) for i in framed.index[differs]]
    return leaks
