"""The state machine: only the ways that are drawn, each step repeatable, a known JSON form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fixtures.rollouts import NOW, after, pending, running
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import Conflict
from modelyard.rollout.state import RolloutState

STEPS: dict[str, Callable[[RolloutState], RolloutState]] = {
    "begin": lambda s: s.begin_stage(s.stage + 1, NOW),
    "enter": lambda s: s.enter(s.stage + 1, NOW),
    "hold": lambda s: s.looked("hold", "", NOW),
    "advance": lambda s: s.looked("promote" if s.last_stage else "advance", "", NOW),
    "ask": lambda s: s.looked("ask", "", NOW),
    "promote": lambda s: s.begin_promotion("good", "modelyard", NOW),
    "by_hand": lambda s: s.begin_promotion("I say so", "ann", NOW, by_hand=True),
    "rollback": lambda s: s.begin_rollback("bad", "modelyard", NOW),
    "finish": lambda s: s.finish(NOW),
    "pause": lambda s: s.pause(True, "ann", NOW),
}


def test_the_whole_ramp() -> None:
    state = running(3)
    assert state.current.weight == 100
    state = state.looked("promote", "all good", after(9)).begin_promotion("all good", "modelyard", after(9))
    assert state.finish(after(10)).status == "promoted"
    assert [e.kind for e in state.finish(after(10)).events][-3:] == ["promote", "promoting", "promoted"]


def test_a_first_release_goes_to_everybody_in_one_stage() -> None:
    state = pending(champion=None, strategy="first").begin_stage(0, NOW).enter(0, NOW)
    assert state.last_stage
    assert state.current.weight == 100


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=25))
def test_whatever_is_tried_the_state_stays_sound(names: list[str]) -> None:
    state = pending()
    for name in names:
        before = state
        try:
            state = STEPS[name](state)
        except Conflict:
            continue
        assert not before.closed or state == before
        assert before.status != "rolling_back" or state.status in ("rolling_back", "rolled_back")
        assert before.status != "promoting" or state.status in ("promoting", "promoted")
        assert state.stage in (before.stage, before.stage + 1)
        if state.stage > before.stage:
            assert before.stage == -1 or before.action == "advance"
        if state.status == "promoted" and state.decided_by == "modelyard":
            assert state.last_stage
        assert RolloutState.from_json(state.to_json()) == state


@pytest.mark.parametrize("name", ["begin", "promote", "by_hand", "rollback", "finish", "pause"])
def test_a_step_that_is_repeated_changes_nothing(name: str) -> None:
    ready = running(3).looked("promote", "", NOW)
    before = {"begin": pending(), "finish": ready.begin_rollback("bad", "x", NOW)}.get(name, ready)
    once = STEPS[name](before)
    assert STEPS[name](once) == once


def test_entering_again_changes_nothing() -> None:
    state = running(1)
    assert state.enter(1, after(100)) == state


def test_stages_cannot_be_jumped() -> None:
    with pytest.raises(Conflict, match="cannot enter stage 2"):
        running(0).looked("advance", "", NOW).begin_stage(2, NOW)
    with pytest.raises(Conflict, match="cannot enter stage 1"):
        running(0).begin_stage(1, NOW)


def test_promotion_must_be_earned_or_insisted_on() -> None:
    with pytest.raises(Conflict, match="not earned"):
        running(1).begin_promotion("", "modelyard", NOW)
    assert running(1).begin_promotion("now", "ann", NOW, by_hand=True).decided_by == "ann"


def test_the_first_look_is_no_later_than_the_least_time() -> None:
    assert running(0).next_look_at == after(1800)
