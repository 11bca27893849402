"""``modelyard rollout``: where the traffic is, and the brakes that a person needs."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from modelyard.cli.output import AsJson, Model, console, emit_json, emit_table, reported
from modelyard.cli.session import platform_of
from modelyard.core.errors import NotFound
from modelyard.flows import rollout as flows
from modelyard.flows.drill import drill as rehearse
from modelyard.flows.drill import drills
from modelyard.rollout.display import COLUMNS, LABEL, for_people, table
from modelyard.rollout.state import RolloutState

app = typer.Typer(help="Staged rollouts: look, stop, insist, go back, rehearse.", no_args_is_help=True)
Why = Annotated[str, typer.Option(help="Why, for the audit log.", prompt="Why")]
To = Annotated[int | None, typer.Option(help="The version to go back to; by default the champion before.")]
By = Annotated[str, typer.Option(help="Who does it, for the audit log; by default the user of this machine.")]


@app.command()
def status(model: Model, as_json: AsJson = False) -> None:
    """Show the open rollout of a model, or the last one, with its newest look.

    Example: modelyard rollout status flight_delay
    """
    with reported():
        here = platform_of(model)
        history = here.ledger.rollouts.history(model)
        if not history:
            raise NotFound("rollout of", model, hint="An approved release starts one.")
        state = RolloutState.model_validate(history[-1])
        looks = here.ledger.rollouts.looks(state.id)
        shown = for_people(state, looks[-1].measurements) if looks else ()
        if as_json:
            emit_json({"state": state, "last_look": looks[-1] if looks else None, "for_people": shown})
            return
        console.print(state.summary, markup=False, highlight=False)
        if looks:
            rows = [(v.check, v.outcome, v.reason) for v in looks[-1].verdicts]
            title = f"Look {looks[-1].look} at {looks[-1].as_of:%Y-%m-%d %H:%M:%S} UTC: {looks[-1].action}"
            emit_table(title, ("check", "outcome", "why"), rows, empty="Nothing was checked.")
        if shown:
            emit_table(f"Estimates ({LABEL})", COLUMNS, table(shown), empty="Nothing was measured.")
        console.print(f"Next: `modelyard rollout history {model}`; to stop it, `modelyard rollout abort {model}`.")


@app.command()
def history(model: Model, as_json: AsJson = False) -> None:
    """Show all rollouts of a model: outcome, stages, reason; and its drills.

    Example: modelyard rollout history flight_delay --json
    """
    with reported():
        here = platform_of(model)
        states = [RolloutState.model_validate(body) for body in here.ledger.rollouts.history(model)]
        if as_json:
            emit_json([{**state.to_dict(), "looks": here.ledger.rollouts.looks(state.id)} for state in states])
            return
        rows = [
            (
                s.id,
                s.strategy.replace("_", "-"),
                s.challenger.version,
                s.status.replace("_", " "),
                s.stage + 1,
                s.looks,
                s.decided_by,
                s.reason,
            )
            for s in states
        ]
        columns = ("rollout", "strategy", "version", "status", "stages", "looks", "decided by", "reason")
        emit_table(f"Rollouts of {model}", columns, rows, empty="An approved release starts one.")
        if rehearsed := drills(here, model):
            times = [(f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, e.action, e.reason) for e in rehearsed]
            emit_table(f"Rollback drills of {model}", ("at (UTC)", "by", "what", "how"), times, empty="")


@app.command()
def abort(model: Model, why: Why) -> None:
    """Give all traffic back to the champion now, and quarantine the release.

    Example: modelyard rollout abort flight_delay --why "complaints from the desk"
    """
    with reported():
        _say(flows.abort(platform_of(model), model, _me(), why, datetime.now(UTC)))


@app.command()
def promote(model: Model, why: Why) -> None:
    """Make the release champion before its evidence is complete; recorded as a manual override.

    Example: modelyard rollout promote flight_delay --why "labels are a week late; reviewed by hand"
    """
    with reported():
        here = platform_of(model)
        rollout = here.ledger.rollouts.current(model)
        if rollout is None:
            raise NotFound("open rollout of", model)
        _say(flows.promote(here, rollout, datetime.now(UTC), by=_me(), why=why))


@app.command()
def revert(model: Model, why: Why, to: To = None, by: By = "") -> None:
    """Go back from the champion to the one before it, now, and quarantine the release that is left.

    Needs neither Airflow nor MLflow. After a crash, or when a replica was away, the same command goes on.

    Example: modelyard rollout revert flight_delay --to 1 --by ann --why "delays are answered in hours"
    """
    with reported():
        _say(flows.revert(platform_of(model), model, by or _me(), why, datetime.now(UTC), to=to))


@app.command()
def drill(model: Model, by: By = "") -> None:
    """Go back to the champion before and forward again on every replica, probe each, and record how long it took.

    Refused while a rollout is open. Nothing is quarantined; the champion stays.

    Example: modelyard rollout drill flight_delay
    """
    with reported():
        done = rehearse(platform_of(model), model, by or _me(), lambda: datetime.now(UTC))
        console.print(f"{model}: {done.reason}", markup=False, highlight=False)
        console.print(f"Next: `modelyard rollout history {model}` shows all drills.")


@app.command()
def pause(model: Model) -> None:
    """Hold the open rollout at its present split; guardrails and clear harm still end it.

    Example: modelyard rollout pause flight_delay
    """
    with reported():
        _say(flows.pause(platform_of(model), model, _me(), datetime.now(UTC)))


@app.command()
def resume(model: Model) -> None:
    """Let a paused rollout go on.

    Example: modelyard rollout resume flight_delay
    """
    with reported():
        _say(flows.pause(platform_of(model), model, _me(), datetime.now(UTC), paused=False))


@app.command()
def restore(model: Model) -> None:
    """Push the wanted split to every replica again, for one that was replaced.

    Example: modelyard rollout restore flight_delay
    """
    with reported():
        states: dict[str, Any] = flows.restore(platform_of(model), model, datetime.now(UTC))
        for name, state in states.items():
            console.print(f"{name}: generation {state.generation}, weight {state.weight / 100:g}%", highlight=False)


def _me() -> str:
    return getpass.getuser()


def _say(state: RolloutState) -> None:
    console.print(state.summary, markup=False, highlight=False)
    console.print(f"Next: `modelyard rollout status {state.model}`, `modelyard audit show {state.model}`.")
