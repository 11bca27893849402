"""The four plots of a training run, plain and legible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.training.watch import Epoch

Floats = npt.NDArray[np.float64]
SIZE = (6.4, 4.4)
BLUE, ORANGE, GREY = "#1f5fa8", "#c4601a", "#8a8a8a"


def run_plots(
    history: tuple[Epoch, ...], best: int, label: Floats, p: Floats, threshold: float
) -> Iterator[tuple[str, Any]]:
    """(name, figure): learning curve, and ROC, calibration and confusion on the rows given."""
    yield "learning_curve", learning_curve(history, best)
    yield "roc", roc(label, p)
    yield "calibration", calibration(label, p)
    yield "confusion", confusion(label, p, threshold)


def learning_curve(history: tuple[Epoch, ...], best: int) -> Any:
    """Loss of the fitting rows (with dropout) and of the validation rows by epoch."""
    figure, axes = _figure("Learning curve", "epoch", "log loss")
    epochs = [h.epoch for h in history]
    axes.plot(epochs, [h.fit_loss for h in history], color=GREY, marker="o", label="fit (with dropout)")
    axes.plot(epochs, [h.validation_loss for h in history], color=BLUE, marker="o", label="validation")
    axes.axvline(best, color=ORANGE, linestyle=":", label=f"kept: epoch {best}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def roc(label: Floats, p: Floats) -> Any:
    """True against false positive rate over all thresholds."""
    figure, axes = _figure("ROC", "false positive rate", "true positive rate")
    order = np.argsort(-p, kind="stable")
    hit, miss = np.cumsum(label[order]), np.cumsum(1 - label[order])
    last = np.append(np.diff(p[order]) != 0, True)  # equal scores are one point
    axes.plot([0, *miss[last] / max(miss[-1], 1)], [0, *hit[last] / max(hit[-1], 1)], color=BLUE)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes.set_aspect("equal")
    return figure


def calibration(label: Floats, p: Floats, bins: int = 10) -> Any:
    """Observed rate against mean forecast in bins of equal numbers of rows."""
    figure, axes = _figure("Calibration", "mean forecast", "observed rate")
    parts = np.array_split(np.argsort(p, kind="stable"), min(bins, p.size))
    axes.plot([p[i].mean() for i in parts], [label[i].mean() for i in parts], color=BLUE, marker="o")
    top = max(float(p.max()), 0.1)
    axes.plot([0, top], [0, top], color=GREY, linestyle=":")
    return figure


def confusion(label: Floats, p: Floats, threshold: float) -> Any:
    """Counts of forecast against outcome at the threshold."""
    figure, axes = _figure(f"Confusion at {threshold:g}", "forecast", "outcome")
    said, was = (p >= threshold).astype(int), (label > 0.5).astype(int)
    counts = np.zeros((2, 2), dtype=int)
    np.add.at(counts, (was, said), 1)
    axes.imshow(counts, cmap="Blues", norm="log" if counts.min() > 0 else None)
    for row in range(2):
        for column in range(2):
            dark = counts[row, column] > counts.max() / 3
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color="w" if dark else "k")
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    axes.grid(visible=False)
    return figure


def _figure(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
