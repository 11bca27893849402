"""What counts as done: read from the ledger and from Airflow, so that a second run does only the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fixtures.demo import NOW, FakeAirflow, Said, dag_run, ledger

from modelyard.config.project import ModelSpec, Project
from modelyard.core.digest import digest_json
from modelyard.core.errors import ConfigError, Unavailable
from modelyard.demo.asking import Asking
from modelyard.demo.conductor import SLOW, Conductor
from modelyard.demo.story import BAD, FEATURES, FIRST, DemoFailed, Rejected, Story, may_not_ship, wrong_unit
from modelyard.ports.fleet import Arm
from modelyard.rollout.policy import RolloutPolicy
from modelyard.rollout.state import Event, RolloutState

SPEC = {
    "name": "m",
    "description": "d",
    "owner": "o",
    "source": {"file": "x.csv", "event_time": "at", "known_at": "known", "key": "id"},
    "label": {"column": "late", "depends_on_answer": False},
    "features": {
        "delay": {"kind": "numeric", "from": "request", "unit": "minutes"},
        "wind": {"kind": "numeric", "from": "request", "unit": "mph"},
    },
    "bootstrap_as_of": "2013-04-09T00:00:00+00:00",
}
STAGE = {"min_seconds": 1, "max_seconds": 9, "min_rows": 1, "error_ratio": 2, "latency_p95_ratio": 2}
POLICY = {
    "stages": [{"weight": 5, **STAGE}, {"weight": 100, **STAGE}],
    "look_every_seconds": 1,
    "quality": {"margin": 0.01, "alpha": 0.025, "min_rows": 1200},
    "tolerance": {"error_rate": 0.005, "latency_p95_ms": 50, "min_rows": 100},
    "guardrails": {
        "alpha": 0.01, "error_budget": 0.01, "timeout_ms": 250, "latency_slo_ms": 100, "latency_budget": 0.05,
        "invalid_budget": 0.001, "disagreement_above": 0.25, "disagreement_budget": 0.1,
    },
}  # fmt: skip


def rollout(name: str, status: Any, strategy: Any = "canary") -> RolloutState:
    """A rollout of the release that is called so."""
    arm = Arm(release=digest_json(name), version=1, bundle="b")
    events = (Event(at=NOW, kind="entered", stage=0), Event(at=NOW, kind=str(status), stage=0))
    return RolloutState(
        id=name, model="m", release=digest_json(name), challenger=arm, champion=None, strategy=strategy, paired=True,
        policy=RolloutPolicy.model_validate(POLICY), gates=digest_json(1), governance=digest_json(2), as_of=NOW,
        opened_at=NOW, status=status, stage=0, events=events,
    )  # fmt: skip


def release(**overrides: Any) -> Any:
    return SimpleNamespace(overrides=overrides, as_of=NOW, version=1)


FINE, BROKEN = digest_json("fine"), digest_json("bad")
RELEASES = {digest_json("first"): release(), FINE: release(), BROKEN: release(serving_units={})}
FIRST_ROLLOUT = rollout("first", "promoted", "first")
SAID = Said()


def refusal(book: Any, name: str) -> Any:
    """Let governance have turned down the release that is called so, because ann said no."""
    digest = digest_json(name)
    decided = SimpleNamespace(action="reject", reasons=("rejected by ann",), subject=digest)
    risky = SimpleNamespace(action="risk_high", reasons=("first_release",), subject=digest)
    earlier = book.journal.decisions
    book.journal.decisions = lambda model, kind, subject: (
        [risky, decided] if (kind, subject) == ("governance", digest) else earlier(model, kind, subject)
    )
    book.journal.approvals = lambda _: [SimpleNamespace(by="ann", answer="reject", comment="too soon")]
    return book


def blocking(airflow: FakeAirflow, book: Any, run_id: str, name: str, kind: str = "manual") -> None:
    """Let the gates, on second thoughts, have blocked the release that is called so; its run has failed."""
    digest, earlier = digest_json(name), book.journal.decisions
    decided = [SimpleNamespace(action="ready"), SimpleNamespace(action="blocked")]
    book.journal.decisions = lambda model, kind, subject: (
        decided if (kind, subject) == ("gates", digest) else earlier(model, kind, subject)
    )
    airflow.states[run_id], airflow.results[(run_id, "train")] = {"train": "success", "gate": "failed"}, digest
    airflow.put(dag_run(run_id, "failed", kind=kind))


class Once:
    """A wait that must not happen more often than the test allows for."""

    def __init__(self, *turns: Any) -> None:
        self._turns = list(turns)

    def __call__(self, _: float) -> None:
        assert self._turns, "waits for something that does not come"
        self._turns.pop(0)()


def story(airflow: FakeAirflow, book: Any, *turns: Any) -> Story:
    asking, no = Asking("", {}, SAID), may_not_ship(book, "m")
    conductor = Conductor("m", airflow, asking, SAID, "http://a", may_not_ship=no, sleep=Once(*turns))  # type: ignore[arg-type]
    project = Project(Path(), ModelSpec.model_validate(SPEC), {})
    return Story(SimpleNamespace(ledger=book), project, conductor)  # type: ignore[arg-type]


def traffic() -> Any:
    return SimpleNamespace(
        pace=SimpleNamespace(hours_per_second=None), check=lambda: None, reached=NOW, sent=0, per_second=0.0,
        record=SimpleNamespace(tally=SimpleNamespace(failed=0)),
    )  # fmt: skip


def test_starts_where_the_model_says_and_goes_on_where_the_clock_stands() -> None:
    later = datetime(2013, 5, 1, tzinfo=UTC)
    assert story(FakeAirflow(), ledger()).reached == datetime(2013, 4, 9, tzinfo=UTC)
    assert story(FakeAirflow(), ledger(ticks=[(NOW, later)])).reached == later


def test_a_model_without_a_beginning_is_refused() -> None:
    project = Project(Path(), ModelSpec.model_validate(SPEC | {"bootstrap_as_of": ""}), {})
    broken = Story(SimpleNamespace(ledger=ledger()), project, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="bootstrap_as_of"):
        _ = broken.start


def test_the_first_champion_is_made_by_airflow_runs() -> None:
    airflow = FakeAirflow()
    told = story(airflow, ledger(), lambda: airflow.put(dag_run(FEATURES, "success", dag="m__features")))
    told.features()
    told = story(airflow, ledger(), lambda: airflow.put(dag_run(FIRST, "success")))
    told.first_champion()
    told.approval()
    assert [run.dag_run_id for runs in airflow.kept.values() for run in runs] == [FEATURES, FIRST]


def test_a_champion_is_not_made_twice() -> None:
    airflow = FakeAirflow()
    told = story(airflow, ledger(champion=release(), ticks=[(NOW, NOW)]))
    told.land()
    told.features()
    told.first_champion()
    told.approval()
    told.first_rollout()
    assert airflow.kept == {}


def test_a_later_rollout_that_is_under_way_holds_nobody_up() -> None:
    airflow = FakeAirflow(states={"release-x": {"stage_0": "running"}})
    airflow.put(dag_run("release-x", dag="m__rollout"))
    book = ledger(champion=release(), rollouts=[FIRST_ROLLOUT, rollout("fine", "running")], releases=RELEASES)
    story(airflow, book).first_rollout()
    only_first = ledger(champion=release(), rollouts=[FIRST_ROLLOUT], releases=RELEASES)
    with pytest.raises(AssertionError, match="waits for something"):
        story(airflow, only_first).first_rollout()


def test_drift_is_found_when_the_asset_started_a_run_that_was_not_skipped() -> None:
    airflow = FakeAirflow(states={"a1": {"plan": "skipped"}})
    airflow.put(dag_run("a1", "success", kind="asset_triggered"))
    book = ledger(rollouts=[FIRST_ROLLOUT], releases=RELEASES)
    story(airflow, book, lambda: airflow.put(dag_run("a2", kind="asset_triggered"))).drift(traffic())
    assert airflow.run("m__retrain", "a2"), "waits until drift asks again"


def test_retraining_promotion_and_rollback_are_read_from_the_ledger() -> None:
    open_rollouts = [FIRST_ROLLOUT, rollout("fine", "running")]
    book = ledger(champion=release(), rollouts=open_rollouts, releases=RELEASES)
    story(FakeAirflow(), book).retraining(traffic())
    promoted = [FIRST_ROLLOUT, rollout("fine", "promoted")]
    told = story(FakeAirflow(), ledger(champion=release(), rollouts=promoted, releases=RELEASES))
    told.promotion(traffic())
    told.drift(traffic())
    assert not told.ended
    caught = [*promoted, rollout("bad", "rolled_back")]
    told = story(FakeAirflow(), ledger(champion=release(), rollouts=caught, releases=RELEASES))
    told.bad_version(traffic())
    told.rollback(traffic())
    assert told.ended


def test_a_bad_version_is_ordered_by_hand_with_its_fault_on_record() -> None:
    airflow, states = FakeAirflow(), [FIRST_ROLLOUT]
    book = ledger(champion=release(), rollouts=states, releases=RELEASES)

    def made() -> None:
        airflow.put(dag_run(BAD, "success"))
        states.append(rollout("bad", "running"))

    asked: list[Any] = []
    trigger = airflow.trigger
    airflow.trigger = lambda *given: asked.append(given) or trigger(*given)  # type: ignore[method-assign,func-returns-value]
    story(airflow, book, made).bad_version(traffic())
    ((dag, run_id, conf),) = asked
    assert (dag, run_id) == ("m__retrain", BAD)
    assert conf["overrides"] == {"serving_units": wrong_unit(Project(Path(), ModelSpec.model_validate(SPEC), {}))}
    assert conf["reason"]
    assert conf["as_of"] == NOW.isoformat(), "the champion's own moment: but for the unit it is the champion"


def test_a_bad_version_that_is_promoted_ends_the_demo_loudly() -> None:
    book = ledger(champion=release(), rollouts=[rollout("bad", "promoted")], releases=RELEASES)
    with pytest.raises(DemoFailed, match="the bad version was promoted"):
        story(FakeAirflow(), book).rollback(traffic())


def test_a_rejected_first_champion_ends_the_demo_and_the_next_run_trains_anew() -> None:
    airflow = FakeAirflow(results={(FIRST, "train"): digest_json("first")})
    airflow.put(dag_run(FIRST, "success"))
    book = refusal(ledger(releases=RELEASES), "first")
    with pytest.raises(Rejected, match=r'version 1 was rejected by ann; ann: "too soon".*`make run` trains anew'):
        story(airflow, book).approval()
    story(airflow, book, lambda: airflow.put(dag_run(f"{FIRST}-2", "success"))).first_champion()
    story(airflow, book).approval()
    assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [FIRST, f"{FIRST}-2"]


def test_a_rejected_bad_version_leaves_nothing_to_roll_back_and_ends_well() -> None:
    airflow = FakeAirflow(results={(BAD, "train"): BROKEN})
    rollouts = [FIRST_ROLLOUT, rollout("fine", "promoted")]
    book = refusal(ledger(champion=release(), rollouts=rollouts, releases=RELEASES), "bad")
    told = story(airflow, book, lambda: airflow.put(dag_run(BAD, "success")))
    told.bad_version(traffic())
    told.rollback(traffic())
    assert "rejected by ann" in SAID.lines[-1]
    assert "nothing to roll back" in SAID.lines[-1]
    assert told.ended


def test_a_rejected_retraining_of_drift_is_told_and_the_next_run_waits_for_another() -> None:
    airflow = FakeAirflow(results={("a1", "train"): FINE})
    airflow.put(dag_run("a1", "success", kind="asset_triggered"))
    book = refusal(ledger(champion=release(), rollouts=[FIRST_ROLLOUT], releases=RELEASES), "fine")
    with pytest.raises(Rejected, match="drift asked for"):
        story(airflow, book).retraining(traffic())
    story(airflow, book, lambda: airflow.put(dag_run("a2", kind="asset_triggered"))).drift(traffic())
    assert airflow.run("m__retrain", "a2"), "waits until drift asks again"


def test_the_newest_decision_of_the_gates_counts() -> None:
    decided: list[Any] = []
    book = ledger()
    book.journal.decisions = lambda *asked: decided if asked == ("m", "gates", FINE) else []
    no = may_not_ship(book, "m")
    assert not no(FINE)
    decided.append(SimpleNamespace(action="blocked"))
    assert no(FINE)
    decided.append(SimpleNamespace(action="ready"))
    assert not no(FINE)


def test_a_first_champion_that_the_gates_block_is_followed_by_another() -> None:
    airflow, book = FakeAirflow(), ledger(releases=RELEASES)
    with pytest.raises(Unavailable, match=r"gate: what gate said.*`make run` trains anew"):
        story(airflow, book, lambda: blocking(airflow, book, FIRST, "first")).first_champion()
    story(airflow, book, lambda: airflow.put(dag_run(f"{FIRST}-2", "success"))).first_champion()
    assert airflow.cleared == []
    assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [FIRST, f"{FIRST}-2"]


def test_a_run_that_somebody_deleted_gives_no_id_twice() -> None:
    airflow, book = FakeAirflow(), ledger(releases=RELEASES)
    blocking(airflow, book, f"{FIRST}-2", "first")
    story(airflow, book, lambda: airflow.put(dag_run(f"{FIRST}-3", "success"))).first_champion()


def test_a_bad_version_that_the_gates_block_is_followed_by_another() -> None:
    airflow, states = FakeAirflow(), [FIRST_ROLLOUT]
    book = ledger(champion=release(), rollouts=states, releases=RELEASES)
    with pytest.raises(Unavailable, match="gate: what gate said"):
        story(airflow, book, lambda: blocking(airflow, book, BAD, "bad")).bad_version(traffic())

    def made() -> None:
        airflow.put(dag_run(f"{BAD}-2", "success"))
        states.append(rollout("bad", "running"))

    story(airflow, book, made).bad_version(traffic())
    assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [BAD, f"{BAD}-2"]


def test_a_bad_version_that_was_skipped_for_a_rollout_is_made_once_things_are_quiet() -> None:
    airflow, states = FakeAirflow(), [FIRST_ROLLOUT]
    book = ledger(champion=release(), rollouts=states, releases=RELEASES)

    def skipped() -> None:
        airflow.states[BAD] = {"plan": "skipped"}
        airflow.put(dag_run(BAD, "success"))
        states.append(rollout("fine", "running"))

    def quiet() -> None:
        assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [BAD], "not before the rollout has ended"
        states[-1] = rollout("fine", "promoted")

    def made() -> None:
        assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [BAD, f"{BAD}-2"], "another was asked for"
        airflow.put(dag_run(f"{BAD}-2", "success"))
        states.append(rollout("bad", "running"))

    story(airflow, book, skipped, quiet, made).bad_version(traffic())


def test_a_bad_version_that_an_earlier_demo_began_is_not_made_twice() -> None:
    airflow, states = FakeAirflow(), [FIRST_ROLLOUT]
    book = ledger(champion=release(), rollouts=states, releases=RELEASES)
    airflow.put(dag_run(BAD))

    def made() -> None:
        airflow.put(dag_run(BAD, "success"))
        states.append(rollout("bad", "rolled_back"))

    story(airflow, book, made).bad_version(traffic())
    assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [BAD]


def test_a_bad_version_of_an_earlier_demo_that_people_reject_meanwhile_is_not_offered_again() -> None:
    airflow = FakeAirflow(results={(BAD, "train"): BROKEN})
    book = ledger(champion=release(), rollouts=[FIRST_ROLLOUT], releases=RELEASES)
    airflow.put(dag_run(BAD))
    no = (lambda: airflow.put(dag_run(BAD, "success")), lambda: refusal(book, "bad"))
    story(airflow, book, lambda: [act() for act in no]).bad_version(traffic())
    assert [run.dag_run_id for run in airflow.kept["m__retrain"]] == [BAD]


def test_without_a_champion_there_is_no_bad_version() -> None:
    with pytest.raises(DemoFailed, match="no champion any more"):
        story(FakeAirflow(), ledger()).bad_version(traffic())


@pytest.mark.parametrize("first", ["rolled back", "blocked"])
def test_of_what_drift_asked_for_only_the_newest_counts(first: str) -> None:
    airflow = FakeAirflow(results={("a1", "train"): digest_json("first"), ("a2", "train"): FINE})
    rollouts = [FIRST_ROLLOUT, *([rollout("fine", "rolled_back")] * (first == "rolled back"))]
    book = ledger(champion=release(), rollouts=rollouts, releases=RELEASES)
    airflow.put(dag_run("a1", "success", kind="asset_triggered"))
    if first == "blocked":
        blocking(airflow, book, "a1", "first", kind="asset_triggered")
    airflow.put(dag_run("a2", "success", kind="asset_triggered"))
    told = story(airflow, refusal(book, "fine"), lambda: airflow.put(dag_run("a3", kind="asset_triggered")))
    told.drift(traffic())
    assert airflow.run("m__retrain", "a3"), "waits until drift asks again"


def test_what_the_gates_blocked_is_not_what_drift_waits_for() -> None:
    airflow, book = FakeAirflow(), ledger(champion=release(), rollouts=[FIRST_ROLLOUT], releases=RELEASES)
    blocking(airflow, book, "a1", "fine", kind="asset_triggered")
    story(airflow, book, lambda: airflow.put(dag_run("a2", kind="asset_triggered"))).drift(traffic())
    assert airflow.run("m__retrain", "a2"), "waits until drift asks again"


def test_after_a_rollback_in_promotion_the_replay_goes_on_at_full_pace_until_drift_asks_again() -> None:
    airflow, flow, paces = FakeAirflow(), traffic(), []
    releases = {**RELEASES, digest_json("next"): release()}
    states = [FIRST_ROLLOUT, rollout("fine", "running")]

    def then(*changes: Any) -> Any:
        return lambda: (paces.append(flow.pace.hours_per_second), [change() for change in changes])

    def ends(name: str, status: str) -> Any:
        return lambda: states.__setitem__(-1, rollout(name, status))

    def run(name: str, state: str = "running") -> Any:
        return lambda: airflow.put(dag_run(name, state, dag="m__rollout"))

    story(
        airflow,
        ledger(champion=release(), rollouts=states, releases=releases),
        then(run("release-fine")),
        then(run("release-fine", "success"), ends("fine", "rolled_back")),
        then(run("release-next"), lambda: states.append(rollout("next", "running"))),
        then(ends("next", "promoted")),
        then(run("release-next", "success")),
    ).promotion(flow)
    assert paces == [SLOW, SLOW, None, SLOW, SLOW], "full pace only after the rollback"
    assert flow.pace.hours_per_second == SLOW, "nothing rushes ahead after a promotion"
    assert "rolled back" in SAID.lines[-1]
    assert "until drift asks again" in SAID.lines[-1]


def test_the_fault_is_a_unit() -> None:
    project = Project(Path(), ModelSpec.model_validate(SPEC), {})
    assert wrong_unit(project) == {"delay": {"scale": 60.0, "offset": 0.0}}
    metric = SPEC | {"features": {"wind": {"kind": "numeric", "from": "request", "unit": "mph"}}}
    with pytest.raises(ConfigError, match="unit"):
        wrong_unit(Project(Path(), ModelSpec.model_validate(metric), {}))
