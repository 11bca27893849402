"""A picture of the simulated decisions: how often each rule promotes and rolls back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelyard.rollout.simulate import CHANGES, MARGIN, SPLITS, Result

PANELS = (
    ("quality", "paired"),
    ("quality", "paired, design effect 5"),
    ("quality", "paired, design effect 20"),
    *((metric, split) for metric in ("errors", "latency") for split in SPLITS),
)
WIDTH = 0.16


def plot(results: Sequence[Result], path: Path) -> None:
    """Write the picture, in the format that the file's name asks for; the same results give the same SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "modelyard", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(11, 12), layout="constrained")
        axes = figure.subplots(len(PANELS), 1, sharex=True)
        cases = (*CHANGES, MARGIN)
        for axis, (metric, split) in zip(axes, PANELS, strict=True):
            own = [r for r in results if (r.metric, r.split) == (metric, split) and r.case in cases]
            for number, rule in enumerate(dict.fromkeys(r.rule for r in own)):
                shown = {r.case: r for r in own if r.rule == rule}
                at, colour = [place + WIDTH * (number - 2) for place in range(len(cases))], f"C{number}"
                axis.bar(at, [100 * shown[c].promoted for c in cases], WIDTH, color=colour, label=rule)
                axis.bar(at, [-100 * shown[c].rolled_back for c in cases], WIDTH, color=colour, alpha=0.45)
            axis.axhline(0, color="black", linewidth=0.8)
            axis.set(ylim=(-105, 105), yticks=(-100, 0, 100), title=f"{metric}, {split}")
            axis.set_yticklabels(("100% back", "0", "100% promoted"))
        axes[-1].set_xticks(range(len(cases)), cases)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
