"""Draws drift reports with Evidently. Its distributions, our numbers.

Evidently bins differently from our profiles (equal widths over both samples), so its PSI is another number with the
same name. Every column is therefore given a test of its own that returns the platform's PSI, and no other is shown.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

BAND = 0.2
"""From here on a column is coloured as drifted; it colours, it decides nothing."""


class EvidentlyReports:
    """``ports.reports.Reports``."""

    def drift(
        self,
        path: Path,
        *,
        reference: pd.DataFrame,
        current: pd.DataFrame,
        numeric: Sequence[str],
        categorical: Sequence[str],
        psi: Mapping[str, float],
        title: str,
    ) -> Path:
        """Write the page; a column without values on either side, or without a PSI, is named and left out."""
        drawn = [
            c for c in (*numeric, *categorical) if c in psi and _has_values(reference, c) and _has_values(current, c)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays .html: Evidently writes by it.
        part = path.with_name(f".{path.name}.part.html")
        if drawn:
            snapshot = _run(reference, current, [c for c in numeric if c in drawn], drawn, psi)
            snapshot.save_html(str(part))
            page = part.read_text(encoding="utf-8")
        else:
            page = "<!doctype html><html><head></head><body></body></html>"
        missing = [c for c in (*numeric, *categorical) if c not in drawn]
        part.write_text(_headed(page, title, psi, missing), encoding="utf-8")
        part.replace(path)
        return path


def _run(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    numeric: Sequence[str],
    drawn: Sequence[str],
    psi: Mapping[str, float],
) -> Any:
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    categorical = [c for c in drawn if c not in numeric]
    definition = DataDefinition(numerical_columns=list(numeric), categorical_columns=categorical)
    sides = [
        Dataset.from_pandas(_typed(side, numeric, categorical), data_definition=definition)
        for side in (current, reference)
    ]
    methods = {column: _test(column, psi[column]) for column in drawn}
    preset = DataDriftPreset(columns=list(drawn), per_column_method=methods, include_tests=False)
    return Report([preset]).run(*sides)


def _typed(rows: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    kinds = dict.fromkeys(numeric, "float64") | dict.fromkeys(categorical, "object")
    return rows[[*numeric, *categorical]].astype(kinds)


def _test(column: str, value: float) -> Any:
    """Evidently's form of a test whose score is already known."""
    from evidently.legacy.calculations.stattests import StatTest
    from evidently.legacy.calculations.stattests.registry import register_stattest
    from evidently.legacy.core import ColumnType

    known: Callable[..., tuple[float, bool]] = lambda *_: (value, value >= BAND)  # noqa: E731
    test = StatTest(
        name=f"modelyard_psi_{column}",
        display_name="PSI (Modelyard's profile)",
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        default_threshold=BAND,
    )
    register_stattest(test, default_impl=known)
    return test


def _has_values(rows: pd.DataFrame, column: str) -> bool:
    return column in rows.columns and bool(rows[column].notna().any())


def _headed(page: str, title: str, psi: Mapping[str, float], missing: Sequence[str]) -> str:
    """Put the platform's own table above Evidently's drawing."""
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{value:.3f}</td></tr>"
        for name, value in sorted(psi.items(), key=lambda item: -item[1])
    )
    left_out = f"<p>Not drawn, for lack of values: {html.escape(', '.join(missing))}.</p>" if missing else ""
    head = (
        f"<div style='font-family: sans-serif; padding: 1em 2em'><h1>{html.escape(title)}</h1>"
        "<p>PSI from the whole window's profile against the reference profile; what is drawn below is a sample.</p>"
        f"<table><tr><th>feature</th><th>PSI</th></tr>{cells}</table>{left_out}</div>"
    )
    before, body, rest = page.partition("<body>")
    return before + body + head + rest if body else head + page
