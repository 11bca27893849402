"""A picture of a replay: what each policy costs in refits, and what it loses against weekly retraining."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Write the picture, in the format that the file's name asks for; the same result gives the same SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    parts = {"all weeks": result["means"], "weeks that nothing was chosen on": result["untouched"]["means"]}
    families = list(dict.fromkeys(m["family"] for m in result["means"]))
    with mpl.rc_context({"svg.hashsalt": "modelyard", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(11, 4.2 * len(families)), layout="constrained")
        axes = figure.subplots(len(families), len(parts), sharex=True, sharey="row", squeeze=False)
        for row, family in zip(axes, families, strict=True):
            for axis, (title, means) in zip(row, parts.items(), strict=True):
                _panel(axis, [m for m in means if m["family"] == family])
                axis.set_title(f"{family}, {title}")
        for axis in axes[-1]:
            axis.set_xlabel("refits per start")
        for row in axes:
            row[0].set_ylabel("logloss above weekly retraining, x 1000")
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axis: Any, means: list[dict[str, Any]]) -> None:
    """One point per policy, with its 95% interval; recalibrated ones are hollow and share their plain one's colour."""
    axis.axhline(0, color="black", linewidth=0.8)
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(_plain(m["policy"]) for m in means))}
    for m in means:
        centre, patched = 1000 * m["excess_over_weekly"], m["recalibrations"] > 0
        spread = [[centre - 1000 * m["excess_low"]], [1000 * m["excess_high"] - centre]]
        colour = colours[_plain(m["policy"])]
        axis.errorbar(
            m["refits"],
            centre,
            yerr=[[max(0.0, end) for end in side] for side in spread],
            fmt="o",
            color=colour,
            mfc="white" if patched else colour,
            ms=9 if m["policy"] == "governor" else 5,
            linewidth=1,
            label=m["policy"],
        )


def _plain(policy: str) -> str:
    return policy.partition(" + ")[0].partition(" with")[0]
