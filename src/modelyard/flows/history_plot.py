"""A picture of past drift checks: the gap, what the governor did, the loss, and the distance of each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from modelyard.core.errors import EvidenceMissing

MARKS = {"watch": ("C7", "."), "schedule": ("C1", "v"), "retrain": ("C3", "D"), "page": ("black", "x")}
"""How an action is drawn; nothing is not."""


def plot_history(model: str, checks: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the picture, in the format that the file's name asks for; the same checks give the same SVG.

    A check without evidence leaves a hole in a line: what was not measured is not drawn as if it had been.

    Raises:
        EvidenceMissing: there is no check to draw.
    """
    if not checks:
        raise EvidenceMissing(f"{model} has not been checked yet; the monitoring DAG checks it each hour")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    times = [datetime.fromisoformat(c["as_of"]) for c in checks]
    features = sorted({name for c in checks for name in c.get("psi") or {}})
    with mpl.rc_context({"svg.hashsalt": "modelyard", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(11, 9), layout="constrained")
        gap, loss, psi = figure.subplots(3, 1, sharex=True)
        gap.axhline(0, color="black", linewidth=0.8)
        gap.plot(times, _series(checks, "calibration_gap"), color="C0")
        ends = [_series(checks, f"calibration_gap_{end}") for end in ("low", "high")]
        gap.fill_between(times, *ends, color="C0", alpha=0.2, linewidth=0)
        for action, (colour, mark) in MARKS.items():
            at = [t for t, c in zip(times, checks, strict=True) if c["action"] == action]
            gap.plot(at, [0.0] * len(at), mark, color=colour, linestyle="none", label=f"{action} ({len(at)})")
        gap.legend(ncols=len(MARKS))
        gap.set_title(f"{model}: calibration gap with its 95% interval, and what the governor decided")
        loss.plot(times, _series(checks, "logloss"), color="C0")
        loss.set_title("logloss of the newest window")
        for place, name in enumerate(features):
            values = [_number((c.get("psi") or {}).get(name)) for c in checks]
            psi.plot(
                times, values, color=f"C{place % 10}", linestyle=("-", "--", ":", "-.")[place // 10 % 4], label=name
            )
        psi.set(yscale="log", title="PSI of each feature")
        if features:
            figure.legend(*psi.get_legend_handles_labels(), loc="outside lower center", ncols=8)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _series(checks: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [_number(c.get(name)) for c in checks]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
