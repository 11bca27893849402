"""``make run``: the whole loop on real data, in named stages, continued from wherever it was left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError
from modelyard.demo.airflow_api import AirflowUser
from modelyard.demo.asking import Asking
from modelyard.demo.conductor import Conductor
from modelyard.demo.kept import StageTimes
from modelyard.demo.people import APPROVERS, STARTER, Approvers
from modelyard.demo.progress import Progress
from modelyard.demo.replay import Pace, open_replay
from modelyard.demo.story import Story, may_not_ship
from modelyard.demo.summary import Json, summarise, write_summary
from modelyard.demo.traffic import Record, Traffic
from modelyard.runtime import commands
from modelyard.runtime.commands import Running
from modelyard.runtime.environment import load_env
from modelyard.wiring import connect

MODEL = "flight_delay"
QUIET = ("services", "data", "features", "training", "approval", "first rollout")
"""Stages without traffic: nobody answers yet."""
BUSY = ("drift", "retraining", "promotion", "bad version", "rollback")
STAGES = (*QUIET, *BUSY)
TITLES = {
    "services": "Services start",
    "data": "Flights land, up to the day on which the story begins",
    "features": "Features are built and materialised (Airflow)",
    "training": "The first champion is trained (Airflow)",
    "approval": "Two people approve it: there is nothing to compare it with (Airflow)",
    "first rollout": "The first champion goes live (Airflow)",
    "drift": "Flights are replayed until the monitor finds a reason to retrain",
    "retraining": "Drift has started a retraining; low risk is approved automatically (Airflow)",
    "promotion": "The new version is rolled out 5, 20, 50, 100% under traffic (Airflow)",
    "bad version": "A bad version passes every offline gate and is approved by two people (Airflow)",
    "rollback": "It is caught under traffic and rolled back (Airflow)",
}


@dataclass(frozen=True)
class Options:
    """``interactive``: a person answers the approvals in Airflow's UI. ``until``: the last stage to go through."""

    interactive: bool = False
    until: str = STAGES[-1]
    model: str = MODEL

    def __post_init__(self) -> None:
        if self.until not in STAGES:
            raise ConfigError("until", self.until, STAGES)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages to go through."""
        return STAGES[: STAGES.index(self.until) + 1]


def run(settings: Settings, options: Options, console: Console | None = None) -> Json:
    """Run the demo, or what is left of it; returns the summary, which is also kept in ``<home>/demo/summary.json``.

    Raises:
        ModelyardError: a stage did not come to its end. What was reached is kept, and the next run goes on from there.
    """
    console = console or Console()

    def warn(what: str) -> None:
        console.print(what, style="yellow", highlight=False, markup=False, soft_wrap=True)

    progress = Progress(console, StageTimes(settings.home, warn))
    signal.signal(signal.SIGTERM, _stop)
    with progress.stage("services", TITLES["services"]):
        running = commands.up(settings, lambda name, what: progress.now(f"{name}: {what}"))
        os.environ.update(load_env(settings.home))
    with ExitStack() as stack:
        demo = _Demo(Settings.from_env(), options, running, progress, stack)
        try:
            demo.play()
        finally:
            summary = demo.summarise()
    _show(console, summary, running)
    return summary


def _stop(number: int, _frame: object) -> None:
    """End like an interruption does: the traffic stops and the summary is written."""
    raise SystemExit(128 + number)


class _Demo:
    """One run of the demo on services that are up."""

    def __init__(
        self, settings: Settings, options: Options, running: Running, progress: Progress, stack: ExitStack
    ) -> None:
        self._settings, self._options, self._progress = settings, options, progress
        passwords, url = running.airflow_passwords, running.airflow_url
        users = {name: stack.enter_context(AirflowUser(url, name, passwords[name])) for name in (STARTER, *APPROVERS)}
        self._airflow = users.pop(STARTER)
        asking = Asking(url, passwords, progress)
        approvers = asking if options.interactive else Approvers(users, after_seconds=4.0)
        if options.interactive:
            progress.say(f"log in at {url} as {asking.logins(APPROVERS)}")
        self._platform = connect(settings)
        self._project = load_project(options.model, settings)
        self._record = Record(settings.home / "demo" / "traffic.json", progress.say)
        no = may_not_ship(self._platform.ledger, options.model)
        conductor = Conductor(options.model, self._airflow, approvers, progress, url, may_not_ship=no)
        self._conductor, self._story = conductor, Story(self._platform, self._project, conductor)

    def play(self) -> None:
        """Go through the stages."""
        story = self._story
        quiet: dict[str, Callable[[], None]] = {
            "data": story.land,
            "features": story.features,
            "training": story.first_champion,
            "approval": story.approval,
            "first rollout": story.first_rollout,
        }
        busy: dict[str, Callable[[Traffic], None]] = {
            "drift": story.drift,
            "retraining": story.retraining,
            "promotion": story.promotion,
            "bad version": story.bad_version,
            "rollback": story.rollback,
        }
        self._conductor.revive()
        for name, act in quiet.items():
            if name in self._options.stages:
                with self._progress.stage(name, TITLES[name]):
                    act()
        wanted = [name for name in BUSY if name in self._options.stages]
        if wanted and not story.ended:
            with self._traffic() as traffic:
                for name in wanted:
                    with self._progress.stage(name, TITLES[name]):
                        busy[name](traffic)

    def summarise(self) -> Json:
        """Write down what has happened so far."""
        seconds = self._progress.seconds
        summary = summarise(self._platform, self._options.model, self._airflow, self._record.tally, seconds)
        write_summary(self._settings.home / "demo" / "summary.json", summary)
        return summary

    def _traffic(self) -> Traffic:
        pace, story = Pace(), self._story
        replay = open_replay(self._platform, self._project, story.start, story.reached, self._record.tally, pace)
        return Traffic(replay, pace, self._record)


def _show(console: Console, summary: Json, running: Running) -> None:
    champion = summary["champion"] or {"name": "none", "version": "-", "semver": "-", "mlflow_run_id": "-"}
    rows = [
        *_rows(summary),
        ("champion", f"{champion['name']} version {champion['version']} ({champion['semver']})"),
        ("requests", f"{summary['requests_total']:,}, failed: {summary['requests_failed']}"),
    ]
    if console.is_terminal:
        table = Table("what", "result", title="What happened", show_lines=False)
        for row in rows:
            table.add_row(*map(Text, row))  # as it is: square brackets are no markup
        console.print(table)
    for what, result in () if console.is_terminal else rows:
        console.print(f"  {what}: {result}", highlight=False, markup=False, soft_wrap=True)
    admin = running.airflow_passwords[STARTER]
    console.print(f"Airflow   {running.airflow_url}   {STARTER} / {admin}", highlight=False, markup=False)
    console.print(f"MLflow    {running.mlflow_url}", highlight=False)
    for url in running.gateway_urls:
        console.print(f"Gateway   {url}   docs: {url}/docs", highlight=False)


def _rows(summary: Json) -> Iterator[tuple[str, str]]:
    for one in summary["retrainings"]:
        yield f"retraining (version {one['version']})", f"{one['reason']} [{one['trigger']}]"
    for one in summary["approvals"]:
        how = "automatically" if one["automatic"] else f"by {one['who']}"
        yield f"approval (version {one['version']})", f"{one['answer']} {how}"
    for one in summary["rollouts"]:
        served = ", ".join(f"{stage['weight']:g}%: {_served(stage)}" for stage in one["stages"])
        yield f"rollout (version {one['version']})", f"{one['outcome']}: {one['reason']} ({served})"


def _served(stage: dict[str, Any]) -> str:
    return " + ".join(f"{count} {variant}" for variant, count in stage["requests"].items()) or "no requests"


def summary_path(home: Path) -> Path:
    """Where the summary is kept."""
    return home / "demo" / "summary.json"
