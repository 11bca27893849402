"""``modelyard rollout simulate``: how often the decisions are wrong, before anybody has to trust them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, errors, reported
from modelyard.cli.session import settings


def simulate(
    model: Annotated[
        str, typer.Option(help="The model whose rollout policy is asked; with an unknown name the default's.")
    ] = "flight_delay",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 1,
    repetitions: Annotated[int, typer.Option(min=1, help="Simulated rollouts for each case.")] = 1000,
    looks: Annotated[int, typer.Option(min=5, help="How often each of them is looked at.")] = 120,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture here (.svg, .png).")] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate good and bad versions and show what the platform's own decisions make of them.

    Takes some minutes; with --repetitions 100, half a minute.

    Example: modelyard rollout simulate --repetitions 200 --plot decisions.svg
    """
    from modelyard.rollout.policy import load_rollout_policy
    from modelyard.rollout.simulate import simulate as run
    from modelyard.rollout.simulate_plot import plot as draw

    with reported():
        policy = load_rollout_policy(settings(), model)
        results = run(policy, seed=seed, repetitions=repetitions, looks=looks, say=errors.print)
        if plot is not None:
            draw(results, plot)
        if as_json:
            given = {"seed": seed, "repetitions": repetitions, "looks": looks, "policy": policy.digest}
            emit_json({**given, "results": [result.to_dict() for result in results]})
            return
        columns = ("metric", "split", "version", "rule", "promoted", "rolled back", "rows to decide")
        rows = [
            (r.metric, r.split, r.case, r.rule, f"{r.promoted:.2%}", f"{r.rolled_back:.2%}", _rows(r.rows))
            for r in results
        ]
        emit_table(f"{repetitions} rollouts of {looks} looks", columns, rows, empty="Nothing was simulated.")
        if plot is not None:
            console.print(f"Drawn in {plot}.", markup=False, highlight=False)


def _rows(median: float | None) -> str:
    return "never" if median is None else f"{median:.0f}"
