"""``modelyard drift replay``: which retraining policy would have paid, over the whole past of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, errors, reported
from modelyard.cli.session import settings
from modelyard.core.errors import ConfigError


def replay(
    model: Annotated[str, typer.Option(help="The model whose past is replayed.")] = "flight_delay",
    starts: Annotated[str, typer.Option(help="Weeks of the first fit; week 0 is the first of the source.")] = "",
    families: Annotated[str, typer.Option(help="Which of logistic,network; by default both.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Fits of the network from so many seeds.")] = 10,
    until: Annotated[int | None, typer.Option(min=1, help="The last week; by default the source's last.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture here (.svg, .png).")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay the model's past under every retraining policy, ours and its rivals, on the same fits.

    Some hundred fits: half an hour of one core. They are kept, and what was interrupted goes on where it was.

    Example: modelyard drift replay --model flight_delay --seeds 2 --plot replay.svg
    """
    from modelyard.flows.replay.families import FAMILIES
    from modelyard.flows.replay.plot import plot as draw
    from modelyard.flows.replay.run import STARTS, Plan
    from modelyard.flows.replay.run import replay as run

    with reported():
        plan = Plan(
            starts=tuple(_week(part) for part in starts.split(",")) if starts else STARTS,
            families=tuple(families.split(",")) if families else tuple(FAMILIES),
            seeds=seeds,
            until=until,
        )
        result = run(settings(), model, plan, errors.print)
        if plot is not None:
            draw(result, plot)
        if as_json:
            emit_json(result)
            return
        for title, part in (("all weeks", result), ("weeks that nothing was chosen on", result["untouched"])):
            columns = ("policy", "family", "refits", "most", "recalibrations", "probes", "logloss", "above weekly")
            emit_table(f"{model}, {title}", columns, [_line(m) for m in part["means"]], empty="No such week.")
        if plot is not None:
            console.print(f"Drawn in {plot}.", markup=False, highlight=False)


def _line(mean: dict[str, Any]) -> tuple[object, ...]:
    excess = f"{mean['excess_over_weekly']:+.4f} [{mean['excess_low']:+.4f}, {mean['excess_high']:+.4f}]"
    counts = (f"{mean['refits']:.1f}", mean["most_refits"], f"{mean['recalibrations']:.0f}", f"{mean['probes']:.0f}")
    return (mean["policy"], mean["family"], *counts, f"{mean['logloss']:.4f}", excess)


def _week(text: str) -> int:
    if not text.strip().isdigit():
        raise ConfigError("--starts", text, "weeks, such as 14,18,20")
    return int(text)
