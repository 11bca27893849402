"""The stages of the demo. Each asks the ledger and Airflow what is done already, and does only the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count

from modelyard.config.project import Project
from modelyard.core.errors import ConfigError, ModelyardError
from modelyard.demo.airflow_api import DagRun
from modelyard.demo.conductor import Conductor
from modelyard.demo.traffic import Traffic
from modelyard.flows.attest import CONCLUSIONS
from modelyard.gates.assess import BLOCKED
from modelyard.ports.ledger import Ledger
from modelyard.ports.platform import Platform
from modelyard.rollout.state import RolloutState

FIRST = "demo-first-champion"
FEATURES = "demo-features"
BAD = "demo-bad-version"
BAD_REASON = "the demo offers a version whose input is read in the wrong unit at serving"


class DemoFailed(ModelyardError):
    """A stage did not come to its end; the message says where to look."""


class Rejected(DemoFailed):
    """A person has turned down what the demo cannot go on without; the message says how to try again."""


class Story:
    """What happens to one model."""

    def __init__(self, platform: Platform, project: Project, conductor: Conductor) -> None:
        self._platform, self._project, self._conductor = platform, project, conductor
        self._ledger, self._model = platform.ledger, project.name

    @property
    def start(self) -> datetime:
        """Where the replay starts; the first champion may know what was known by then."""
        text = self._project.spec.bootstrap_as_of
        if not text:
            raise ConfigError("bootstrap_as_of", text, "a moment in ISO 8601", where=f"{self._model}/model.yaml")
        return datetime.fromisoformat(text).astimezone(UTC)

    @property
    def reached(self) -> datetime:
        """How far earlier replays have come."""
        ticks = self._ledger.journal.ticks(self._model)
        return max(self.start, ticks[-1][1].astimezone(UTC)) if ticks else self.start

    @property
    def ended(self) -> bool:
        """Whether everything that the demo shows has happened."""
        return self._champion() and self._promoted() and (self._caught() or bool(self._bad_refusal()))

    def land(self) -> None:
        """Land what was known when the story begins, and set the clock there."""
        from modelyard.flows.ingest import ingest

        journal = self._ledger.journal
        if not journal.ticks(self._model):
            rows = ingest(self._platform, self._model, datetime(1970, 1, 1, tzinfo=UTC), self.start)
            self._conductor.say(f"{rows:,} rows landed: all that was known by {self.start:%Y-%m-%d %H:%M} UTC")
            journal.tick(self._model, datetime.now(UTC), self.start)

    def features(self) -> None:
        """Build and materialise the features."""
        if not self._champion():
            run = self._conductor.by_hand("features", FEATURES, {"as_of": self.start.isoformat()})
            self._conductor.until(lambda: self._conductor.ended(run))

    def first_champion(self) -> None:
        """Train the first champion; ends when it waits for approval.

        One that people rejected, or that the gates blocked, is followed by another.
        """
        if not self._champion():
            conf = {"as_of": self.start.isoformat(), "reason": "first champion"}
            run = self._conductor.by_hand("retrain", self._next_run(FIRST), conf)
            self._conductor.until(lambda: self._conductor.questions(run) or self._conductor.ended(run))

    def approval(self) -> None:
        """Two people approve it: there is nothing to compare it with.

        Raises:
            Rejected: one of them said no, so nothing goes live.
        """
        if not self._champion() and (run := self._conductor.newest("retrain", FIRST)) is not None:
            self._conductor.until(lambda: self._conductor.ended(run), answering=True)
            if refusal := self._refusal(run):
                raise Rejected(
                    f"the first champion will not go live: {refusal}. Without one the demo ends here. "
                    f"`modelyard decisions {self._model}` shows the evidence. `make run` trains anew and asks again; "
                    f"to get another model, first change params.yaml or {self._project.folder}."
                )

    def first_rollout(self) -> None:
        """It goes live; what a later rollout does is not waited for."""
        self._conductor.until(lambda: self._champion() and (self._canaries() or not self._conductor.active("rollout")))

    def drift(self, traffic: Traffic) -> None:
        """Replay traffic until the governor asks for a retraining."""
        self._conductor.until(lambda: self._promoted() or self._asked(), traffic, hours_per_second=None)

    def retraining(self, traffic: Traffic) -> None:
        """The new version is made, passes its gates and is approved automatically.

        Raises:
            Rejected: its risk was high, and a person said no.
        """
        self._conductor.until(
            lambda: self._promoted() or self._rollout_of_drift() or self._turned_down(),
            traffic,
            answering=True,
            hours_per_second=None,  # what the gates have blocked is tried again when drift asks again
        )
        if not self._promoted() and not self._rollout_of_drift():
            raise Rejected(
                f"the retraining that drift asked for came to nothing: {self._turned_down()}. The champion stays. "
                "`make run` goes on and waits until drift asks again."
            )

    def promotion(self, traffic: Traffic) -> None:
        """It is rolled out in stages under traffic. What is rolled back is told, and drift may ask again.

        Raises:
            Rejected: what drift asked for next was high risk, and a person said no.
        """
        while not self._promoted():
            self._conductor.until(lambda: self._promoted() or not self._rollout_of_drift(), traffic, answering=True)
            if not self._promoted():
                for lost in self._of_drift()[-1:]:
                    self._conductor.say(f"{lost.summary}. The champion stays; traffic goes on until drift asks again.")
                self.retraining(traffic)  # at full pace; after a promotion no days may pass
        self._conductor.until(lambda: not self._conductor.active("rollout"), traffic)

    def bad_version(self, traffic: Traffic) -> None:
        """A bad version is made, passes every offline gate and is approved by two people.

        It is trained as of the champion's own moment, so it is the champion but for the unit: offline nobody can tell
        the two apart. What drift has asked for meanwhile comes first; where that gets ahead after all, the run that was
        to make the bad version is skipped, and another one follows.
        """
        while not self._offered():
            self._conductor.until(lambda: self._offered() or self._quiet(), traffic, answering=True)
            if not self._offered():  # what an earlier demo had begun may have come so far meanwhile
                self._offer_bad(traffic)

    def rollback(self, traffic: Traffic) -> None:
        """It is caught under traffic and rolled back; what people have rejected never comes so far."""
        if refusal := self._bad_refusal():
            self._conductor.say(f"people stopped the bad version: {refusal}. There is nothing to roll back.")
            return
        self._conductor.until(lambda: self._caught() and not self._conductor.active("rollout"), traffic)

    def _champion(self) -> bool:
        return self._ledger.releases.champion(self._model) is not None

    def _rollouts(self) -> list[RolloutState]:
        return [RolloutState.model_validate(body) for body in self._ledger.rollouts.history(self._model)]

    def _quiet(self) -> bool:
        """Whether nothing is under way, so that a retraining by hand is not skipped for the sake of a rollout."""
        busy = any(map(self._conductor.active, ("retrain", "rollout")))
        return not busy and all(state.closed for state in self._rollouts())

    def _asked(self) -> DagRun | None:
        """The newest retraining that drift has asked for, unless people turned it down or the gates blocked it."""
        newest = next(self._of_asset(), None)
        return None if newest is None or self._refusal(newest) or self._conductor.blocked(newest) else newest

    def _of_asset(self) -> Iterator[DagRun]:
        """Retrainings that the drift asset has started and that had something to do, newest first."""
        runs = [run for run in self._conductor.runs("retrain") if run.run_type == "asset_triggered"]
        return (run for run in reversed(runs) if not self._conductor.was_skipped(run, "plan"))

    def _turned_down(self) -> str:
        """Why people did not want the newest retraining that drift has asked for; empty if they did, or may yet."""
        newest = next(self._of_asset(), None)
        return self._refusal(newest) if newest else ""

    def _refusal(self, run: DagRun) -> str:
        """Who turned down what the run has made, and why; empty unless governance has concluded so."""
        digest = self._conductor.release(run)
        if digest is None:
            return ""
        journal = self._ledger.journal
        concluded = [d for d in journal.decisions(self._model, "governance", digest) if d.action in CONCLUSIONS]
        if not concluded or concluded[-1].action != "reject":
            return ""
        version = self._ledger.releases.get(digest).version
        said = [f'{a.by}: "{a.comment}"' for a in journal.approvals(digest) if a.answer == "reject" and a.comment]
        return "; ".join([f"version {version} was {', '.join(concluded[-1].reasons)}", *said])

    def _offered(self) -> bool:
        return self._bad() is not None or bool(self._bad_refusal())

    def _offer_bad(self, traffic: Traffic) -> None:
        champion = self._ledger.releases.champion(self._model)
        if champion is None:
            raise DemoFailed(f"{self._model} has no champion any more, so there is none to make a bad version of")
        conf = {
            "as_of": champion.as_of.isoformat(),
            "reason": BAD_REASON,
            "overrides": {"serving_units": wrong_unit(self._project)},
        }
        run = self._conductor.by_hand("retrain", self._next_run(BAD), conf)
        self._conductor.until(lambda: self._nothing_more_of(run), traffic, answering=True)

    def _nothing_more_of(self, run: DagRun) -> bool:
        """Whether nothing more comes of the run that was to make the bad version: but its rollout."""
        if not self._conductor.ended(run):
            return False
        skipped = self._conductor.was_skipped(run, "plan")
        return skipped or self._bad() is not None or bool(self._refusal(run))

    def _bad_refusal(self) -> str:
        run = self._conductor.newest("retrain", BAD)
        return "" if run is None or self._bad() is not None else self._refusal(run)

    def _next_run(self, name: str) -> str:
        """The id of the run that makes it: the newest one's, or a new one if nothing can come of that any more."""
        newest = self._conductor.newest("retrain", name)
        if newest is None:
            return name
        skipped = self._conductor.was_skipped(newest, "plan")
        if not (skipped or self._conductor.blocked(newest) or self._refusal(newest)):
            return newest.dag_run_id
        taken = {run.dag_run_id for run in self._conductor.runs("retrain")}
        return next(new for number in count(2) if (new := f"{name}-{number}") not in taken)

    def _canaries(self) -> list[RolloutState]:
        return [state for state in self._rollouts() if state.strategy not in ("first", "revert")]

    def _of_drift(self) -> list[RolloutState]:
        return [state for state in self._canaries() if not self._ledger.releases.get(state.release).overrides]

    def _rollout_of_drift(self) -> RolloutState | None:
        return next((state for state in reversed(self._of_drift()) if state.status != "rolled_back"), None)

    def _promoted(self) -> bool:
        return any(state.status == "promoted" for state in self._of_drift())

    def _bad(self) -> RolloutState | None:
        return next((s for s in self._rollouts() if self._ledger.releases.get(s.release).overrides), None)

    def _caught(self) -> bool:
        state = self._bad()
        if state is not None and state.status == "promoted":
            raise DemoFailed(
                f"the bad version was promoted: {state.summary}; `modelyard rollout history {self._model}`"
            )
        return state is not None and state.status == "rolled_back"


def may_not_ship(ledger: Ledger, model: str) -> Callable[[str], bool]:
    """Tells of a release (its digest) whether the newest decision of the gates blocks it."""

    def blocked(release: str) -> bool:
        decided = ledger.journal.decisions(model, "gates", release)
        return bool(decided) and decided[-1].action == BLOCKED

    return blocked


def wrong_unit(project: Project) -> dict[str, dict[str, float]]:
    """The demo's fault: delays that arrive in minutes are read as hours.

    Answers stay plausible and no offline gate can see it, since the gates score in the model's own units; only traffic
    can. (Temperatures read in the wrong unit would cost too little in a mild week to be called harm.)
    """
    wrong = {name: {"scale": 60.0, "offset": 0.0} for name, f in project.spec.features.items() if f.unit == "minutes"}
    if not wrong:
        units = {f.unit for f in project.spec.features.values() if f.unit}
        raise ConfigError("unit", "minutes", units, where=f"{project.name}/model.yaml")
    return wrong
