"""Every strategy: possible policies, the drawn ways through its states, and no evidence that is taken for a pass."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.rollouts import after, healthy_fleet, pending, running
from fixtures.strategies import DAY, STRATEGIES, policy, stage
from pydantic import ValidationError

from modelyard.core.errors import Conflict
from modelyard.core.records import AnalysisRun
from modelyard.core.verdict import Measurement, Outcome
from modelyard.rollout.decide import decide
from modelyard.rollout.state import RolloutState

GOOD: dict[tuple[str, str], dict[str, Any]] = {
    ("smoke", ""): {"value": 0, "n": 2},
    ("seconds_in_stage", ""): {"value": DAY},
    ("guardrail_trips", ""): {"value": 0},
    ("rows", "challenger"): {"value": 4000, "n": 4000},
    ("error_rate", "challenger"): {"value": 0.0, "low": 0.0, "high": 0.003, "n": 4000},
    ("error_rate", "champion"): {"value": 0.02, "low": 0.016, "high": 0.025, "n": 8000},
    ("latency_p95_ms", "challenger"): {"value": 20.0, "low": 19.0, "high": 21.0, "n": 4000},
    ("latency_p95_ms", "champion"): {"value": 30.0, "low": 29.0, "high": 31.0, "n": 8000},
    ("slow_rate", "challenger"): {"value": 0.0, "low": 0.0, "high": 0.01, "n": 900},
    ("call_p95_ms", "challenger"): {"value": 0.3, "low": 0.2, "high": 0.4, "n": 900},
    ("call_p95_ms", "champion"): {"value": 0.2, "low": 0.1, "high": 0.3, "n": 900},
    ("disagreement", "challenger"): {"value": 0.01, "low": 0.0, "high": 0.02, "n": 4000},
    ("loss_difference", ""): {"value": -0.02, "low": -0.03, "high": -0.01, "n": 3000},
    ("accuracy_gain", ""): {"value": 0.04, "low": 0.021, "high": 0.06, "n": 3000},
}
NONE: dict[str, Any] = {"value": None, "why": "nothing yet", "low": None, "high": None, "n": 0}


def at(name: str, number: int = 0, **changes: Any) -> RolloutState:
    made = policy(name)
    return running(number, strategy=made.strategy, policy=made, **changes)


def measured(changes: dict[tuple[str, str], dict[str, Any] | None] | None = None) -> list[Measurement]:
    merged = {key: changes.get(key, {}) if changes else {} for key in GOOD}
    given = [
        GOOD[key] | change | {"name": key[0], "variant": key[1]} for key, change in merged.items() if change is not None
    ]
    return [*map(Measurement.model_validate, given), *healthy_fleet()]


def action(state: RolloutState, seconds: float = DAY, **changes: dict[str, Any] | None) -> str:
    """``loss_difference={...}`` or ``rows__challenger={...}`` change what was measured."""
    given = {(name.split("__")[0], [*name.split("__"), ""][1]): value for name, value in changes.items()}
    run = decide(state, measured(given), after(seconds))
    again = AnalysisRun.from_json(run.to_json())
    assert decide(state, again.measurements, again.as_of) == run
    return run.action


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_is_a_possible_policy_that_replays(name: str) -> None:
    assert policy(name).model_validate(policy(name).model_dump()) == policy(name)
    assert RolloutState.from_json(at(name).to_json()) == at(name)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("canary", {"stages": [stage(0)]}, "the last stage of a canary must be 100 percent, not 0"),
        ("canary", {"stages": [stage(0), stage(0), stage(100)]}, "weights must rise"),
        ("canary", {"stages": [stage(5), stage(100, quality=False)]}, "nothing is promoted without it"),
        ("canary", {"fast_track": {}}, "from 25 percent leaves nothing out of 5, 20, 50, 100"),
        ("blue_green", {"fast_track": {}}, "fast_track is for strategy canary"),
        ("blue_green", {"stages": [stage(100)]}, r"two stages, of weight 0 and 100; these are \[100.0\]"),
        ("blue_green", {"stages": [stage(0), stage(50)]}, "two stages, of weight 0 and 100"),
        (
            "blue_green",
            {"stages": [stage(0, min_rows=99), stage(100)]},
            r"\(99\) must be at least tolerance.min_rows \(100\)",
        ),
        ("shadow", {"stages": [stage(0), stage(100)]}, "one stage, of weight 0"),
        ("shadow", {"stages": [stage(5)]}, "one stage, of weight 0"),
        ("ab_test", {"stages": [stage(100)]}, "a weight between 0 and 100"),
        ("ab_test", {"stages": [stage(20), stage(50)]}, "one stage"),
        ("ab_test", {"on_deadline": "rollback"}, "ab_test needs on_deadline: ask"),
        ("ab_test", {"quality": {"metric": "revenue"}}, "metric"),
    ],
)
def test_an_impossible_strategy_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        policy(name, **changes)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("ladder", 0, "advance"),
        ("ladder", 4, "advance"),
        ("ladder", 5, "promote"),
        ("shadow_canary", 0, "advance"),
        ("shadow_canary", 2, "promote"),
        ("blue_green", 0, "advance"),
        ("blue_green", 1, "promote"),
        ("shadow", 0, "conclude"),
        ("ab_test", 0, "promote"),
    ],
)
def test_all_shown_goes_on(name: str, number: int, expected: str) -> None:
    assert action(at(name, number)) == expected


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(
    "missing", ["seconds_in_stage", "guardrail_trips", "rows__challenger", "error_rate__challenger"]
)
def test_what_is_missing_holds_until_the_deadline_and_never_promotes(name: str, missing: str) -> None:
    for number in range(len(policy(name).stages)):
        state = at(name, number)
        for gone in (None, NONE):
            assert action(state, 1, **{missing: gone}) == "hold"
            assert action(state, 100 * DAY, **{missing: gone}) == state.policy.on_deadline


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_traffic_at_all_holds_and_the_deadline_ends_it(name: str) -> None:
    for number in range(len(policy(name).stages)):
        state = at(name, number)
        quiet = {"__".join(key).rstrip("_"): NONE for key in GOOD if key[0] not in ("smoke", "guardrail_trips")}
        quiet |= {"rows__challenger": {"value": 0, "n": 0}, "seconds_in_stage": {"value": DAY}}
        assert action(state, 1, **quiet) == "hold"
        expected = "ask" if name == "ab_test" else "rollback"
        assert action(state, 100 * DAY, **quiet) == expected


@pytest.mark.parametrize("name", STRATEGIES)
def test_harm_ends_it_in_every_stage(name: str) -> None:
    for number in range(len(policy(name).stages)):
        assert action(at(name, number), 1, guardrail_trips={"value": 1}) == "rollback"
        harm = {"value": 0.03, "low": 0.02, "high": 0.04}
        assert action(at(name, number), 1, loss_difference=harm) == "rollback"


def test_blue_green_asks_for_the_smoke_test_before_and_after_the_switch() -> None:
    for number in (0, 1):
        assert action(at("blue_green", number), smoke={"value": 1}) == "rollback"
        assert action(at("blue_green", number), smoke=NONE) == "hold"
    waiting = {"value": 0.0, "low": -0.02, "high": 0.02}
    assert action(at("blue_green", 0), loss_difference=waiting) == "advance"  # quality: false
    assert action(at("blue_green", 1), loss_difference=waiting) == "hold"


def test_after_the_switch_the_old_version_is_held_by_its_record() -> None:
    """No champion answers at weight 100: what it did before the switch is the bound; not known, the tolerance is."""
    slow = {"value": 62.0, "low": 60.0, "high": 64.0}
    state = at("blue_green", 1)
    assert action(state, latency_p95_ms__challenger=slow) == "rollback"
    assert action(state, latency_p95_ms__challenger=slow, latency_p95_ms__champion=slow) == "promote"
    slower = {"value": 70.0, "low": 69.0, "high": 85.0}
    assert action(state, latency_p95_ms__challenger=slower, latency_p95_ms__champion=slow) == "hold"
    assert action(state, latency_p95_ms__champion=None) == "promote"
    assert action(state, latency_p95_ms__challenger=slow, latency_p95_ms__champion=None) == "rollback"


@pytest.mark.parametrize("check", ["slow_rate__challenger", "disagreement__challenger"])
def test_a_shadow_that_is_slow_or_of_another_world_holds(check: str) -> None:
    bad = {"value": 0.4, "low": 0.3, "high": 0.5}
    for change in (bad, NONE, {"n": 99}, None):
        assert action(at("shadow"), **{check: change}) == "hold"
        assert action(at("shadow"), 14 * DAY, **{check: change}) == "rollback"
    assert action(at("canary"), **{check: bad}) == "advance"  # not a shadow: it is no measurement of this stage


def test_a_shadow_is_as_quick_as_the_champion_or_holds() -> None:
    """On the batches that both scored; below the tolerance a ratio says nothing."""
    state = at("shadow")  # ratio 1.3, tolerance 50 ms
    slow = {"value": 66.0, "low": 60.0, "high": 70.0}
    assert action(state, call_p95_ms__challenger={"value": 49.0}) == "conclude"
    assert action(state, call_p95_ms__challenger=slow) == "hold"
    assert action(state, call_p95_ms__challenger=slow, call_p95_ms__champion={"value": 51.0}) == "conclude"
    for missing in (NONE, None, {"n": 49}):
        assert action(state, call_p95_ms__challenger=missing) == "hold"
    never = {"value": None, "why": "the versions take different inputs", "low": None, "high": None, "n": 1}
    assert action(state, call_p95_ms__challenger=never, call_p95_ms__champion=never) == "conclude"


def test_in_shadow_the_loss_is_asked_only_where_the_outcome_does_not_depend_on_the_answer() -> None:
    assert action(at("shadow"), loss_difference=NONE) == "hold"
    alone = at("shadow", paired=False)
    assert action(alone, loss_difference=NONE) == "conclude"
    verdicts = {v.check: v for v in decide(alone, measured({("loss_difference", ""): NONE}), after(DAY)).verdicts}
    assert (verdicts["quality"].outcome, verdicts["quality"].blocks) == (Outcome.INCONCLUSIVE, False)
    assert action(at("shadow_canary", 1, paired=False), loss_difference=NONE) == "hold"


def test_a_test_between_two_versions_is_won_lost_or_left_to_a_person() -> None:
    state = at("ab_test")
    for undecided in ({"high": 0.001}, {"n": 1199}):
        assert action(state, loss_difference=undecided) == "hold"
        assert action(state, 14 * DAY, loss_difference=undecided) == "ask"
        assert action(state, 140 * DAY, loss_difference=undecided) == "ask"
    worse = {"value": 0.003, "low": 0.001, "high": 0.005}
    assert action(state, loss_difference=worse) == "rollback"  # surely not better
    assert action(at("canary"), loss_difference=worse) == "advance"  # within the margin
    assert action(state.looked("ask", "", after(14 * DAY)), 20 * DAY) == "promote"  # by evidence, however late


EXCEPTIONAL = [
    {"accuracy_gain": {"low": 0.019}},
    {"accuracy_gain": {"n": 1199}},
    {"accuracy_gain": None},
    {"accuracy_gain": NONE},
    {"latency_p95_ms__challenger": {"high": 28.0}},
    {"latency_p95_ms__challenger": {"high": None}},
    {"latency_p95_ms__champion": {"low": 21.5}},
    {"error_rate__challenger": {"high": 0.0065}},
    {"error_rate__champion": {"low": 0.012}},
]


def test_an_exceptional_canary_is_put_on_the_fast_track_from_25_percent_on() -> None:
    actions = [action(at("fast_track", number)) for number in range(6)]
    assert actions == ["advance", "advance", "fast_track", "fast_track", "advance", "promote"]
    assert action(at("ladder", 2)) == "advance"


@pytest.mark.parametrize("change", EXCEPTIONAL)
def test_the_fast_track_is_decided_on_bounds(change: dict[str, Any]) -> None:
    assert action(at("fast_track", 2), **change) == "advance"


def test_what_holds_the_stage_holds_the_fast_track() -> None:
    assert action(at("fast_track", 2), 1, seconds_in_stage={"value": 1.0}) == "hold"
    assert action(at("fast_track", 2), rows__challenger={"value": 299, "n": 299}) == "hold"


def test_the_fast_track_leads_to_the_last_stage_alone() -> None:
    state = at("fast_track", 2).looked("fast_track", "exceptional", after(DAY))
    assert state.next_stage == 5
    for wrong in (3, 4):
        with pytest.raises(Conflict, match=f"cannot enter stage {wrong}"):
            state.begin_stage(wrong, after(DAY))
    last = state.begin_stage(5, after(DAY)).enter(5, after(DAY))
    assert (last.stage, last.current.weight, last.action) == (5, 100, "hold")


def test_a_shadow_ends_concluded_and_is_never_promoted_by_itself() -> None:
    state = at("shadow").looked("conclude", "all shown", after(DAY))
    assert state.summary == "delays version 2: running in shadow: all shown"
    with pytest.raises(Conflict, match="not earned"):
        state.begin_promotion("", "modelyard", after(DAY))
    concluding = state.begin_conclusion("all shown", "modelyard", after(DAY))
    assert concluding.begin_conclusion("again", "modelyard", after(DAY)) == concluding
    with pytest.raises(Conflict, match="is concluding; a person may call that off"):
        concluding.begin_rollback("bad", "modelyard", after(DAY))
    assert concluding.begin_rollback("no", "ann", after(DAY), by_hand=True).finish(after(DAY)).status == "rolled_back"
    concluded = concluding.finish(after(DAY))
    assert (concluded.status, concluded.closed) == ("concluded", True)
    with pytest.raises(Conflict, match="nothing to take back"):
        concluded.begin_rollback("bad", "ann", after(DAY), by_hand=True)
    with pytest.raises(Conflict, match="nothing to conclude"):
        at("canary").begin_conclusion("", "modelyard", after(DAY))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_first_release_goes_to_everybody_whatever_the_strategy(name: str) -> None:
    state = pending(champion=None, strategy="first", policy=policy(name))
    assert [one.weight for one in state.stages] == [100]
