"""The evidence from the training frame and the bundles alone: shared with the offline stage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.data.frames import canonical, content_digest
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.measure import Sample
from modelyard.evaluation.release import Asked, measure_release
from modelyard.release.bundle import Bundle

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.config.project import Project


def measure_bundles(
    project: Project,
    frame: pd.DataFrame,
    ours: Bundle,
    theirs: Bundle | None,
    as_of: datetime,
    around: Iterable[Measurement] = (),
) -> Evidence:
    """The evidence, from the training frame of the release's snapshot and the bundles; ``around`` is added to it."""
    release = ours.release
    rows, sample = evaluation_rows(project, frame, release)
    asked = Asked(slices=project.spec.slices, groups=project.spec.groups)
    champion = theirs.release.digest if theirs else None
    return Evidence(
        model=release.model,
        release=release.digest,
        champion=champion,
        as_of=as_of,
        snapshot=release.snapshot,
        window=sample.window,
        rows=content_digest(canonical(rows, project.spec.source.key)),
        measurements=(*around, *measure_release(sample, rows, asked, ours, theirs)),
    )


def evaluation_rows(project: Project, frame: pd.DataFrame, release: Release) -> tuple[pd.DataFrame, Sample]:
    """The rows that the release was held back from and whose outcome is known, and what happened on them."""
    from modelyard.training.split import rows_in

    window = Window.parse(release.parts["evaluation_window"])
    source, label = project.spec.source, project.spec.label.column
    rows = frame[rows_in(frame[source.event_time], window) & frame[label].notna().to_numpy()]
    times = rows[source.event_time].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return rows, Sample(label=rows[label].to_numpy(dtype=np.float64), times=times, window=window)
