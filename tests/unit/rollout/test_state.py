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
    "abort": lambda s: s.begin_rollback("I say so", "ann", NOW, by_hand=True),
    "verify": lambda s: s.verify(NOW),
    "finish": lambda s: s.finish(NOW),
    "pause": lambda s: s.pause(True, "ann", NOW),
}


def test_the_whole_ramp() -> None:
    state = running(3)
    assert state.current.weight == 100
    state = state.looked("promote", "all good", after(9)).begin_promotion("all good", "modelyard", after(9))
    with pytest.raises(Conflict, match="not verified"):
        state.finish(after(10))
    state = state.verify(after(10))
    assert state.finish(after(10)).status == "promoted"
    assert [e.kind for e in state.finish(after(10)).events][-3:] == ["promoting", "verified", "promoted"]


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
        called_off = name == "abort" and not before.verified and state.status == "rolling_back"
        assert before.status != "promoting" or called_off or state.status in ("promoting", "promoted")
        assert state.status != "promoted" or state.verified
        assert state.stage in (before.stage, before.stage + 1)
        if state.stage > before.stage:
            assert before.stage == -1 or before.action == "advance"
        if before.paused and state.entering != before.entering:
            pytest.fail("a paused rollout went on")
        if state.status == "promoted" and state.decided_by == "modelyard":
            assert state.last_stage
        assert RolloutState.from_json(state.to_json()) == state


@pytest.mark.parametrize("name", ["begin", "promote", "by_hand", "rollback", "abort", "verify", "finish", "pause"])
def test_a_step_that_is_repeated_changes_nothing(name: str) -> None:
    ready = running(3).looked("promote", "", NOW)
    others = {
        "begin": pending(),
        "verify": ready.begin_promotion("good", "x", NOW),
        "finish": ready.begin_rollback("bad", "x", NOW),
    }
    before = others.get(name, ready)
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


def test_a_promotion_is_called_off_by_a_person_and_only_until_it_is_verified() -> None:
    promoting = running(3).looked("promote", "", NOW).begin_promotion("good", "modelyard", NOW)
    with pytest.raises(Conflict, match="a person may call that off"):
        promoting.begin_rollback("bad", "modelyard", NOW)
    assert promoting.begin_rollback("bad", "ann", NOW, by_hand=True).finish(NOW).status == "rolled_back"
    verified = promoting.verify(NOW)
    with pytest.raises(Conflict, match="end it with `modelyard rollout promote delays`"):
        verified.begin_rollback("bad", "ann", NOW, by_hand=True)
    with pytest.raises(Conflict, match="`modelyard rollout revert delays` goes back"):
        verified.finish(NOW).begin_rollback("bad", "ann", NOW, by_hand=True)


def test_a_trip_calls_a_promotion_off_until_it_is_verified() -> None:
    promoting = running(3).looked("promote", "", NOW).begin_promotion("good", "modelyard", NOW)
    assert promoting.begin_rollback("tripped", "modelyard", NOW, tripped=True).status == "rolling_back"
    with pytest.raises(Conflict, match="only its record is missing"):
        promoting.verify(NOW).begin_rollback("tripped", "modelyard", NOW, tripped=True)


def test_a_paused_rollout_does_not_go_on_whatever_the_last_look_said() -> None:
    resume = "is paused by hand; `modelyard rollout resume delays`"
    advancing = running(0).looked("advance", "", NOW)
    for paused in (pending().pause(True, "ann", NOW), advancing.pause(True, "ann", NOW)):
        with pytest.raises(Conflict, match=resume):
            paused.begin_stage(paused.stage + 1, NOW)
    with pytest.raises(Conflict, match=resume):  # also when the step was begun before
        advancing.begin_stage(1, NOW).pause(True, "ann", NOW).begin_stage(1, NOW)
    assert advancing.pause(True, "ann", NOW).pause(False, "ann", NOW).begin_stage(1, NOW).entering == 1
    passed = running(3).looked("promote", "", NOW).pause(True, "ann", NOW)
    with pytest.raises(Conflict, match=resume):
        passed.begin_promotion("good", "modelyard", NOW)
    assert passed.begin_promotion("I say so", "ann", NOW, by_hand=True).status == "promoting"
    with pytest.raises(Conflict, match=resume):
        passed.begin_conclusion("good", "modelyard", NOW)


def test_a_look_grows_old_and_a_step_tried_in_vain_overdue() -> None:
    looked = running(0).looked("advance", "", NOW)
    assert not looked.stale(after(18_000))
    assert looked.stale(after(18_001))
    begun = looked.begin_stage(1, after(looked.current.max_seconds + 60))
    assert not looked.overdue(1, after(looked.current.max_seconds + 1e6))  # never tried
    assert not begun.overdue(1, after(looked.current.max_seconds + 18_059))
    assert begun.overdue(1, after(looked.current.max_seconds + 18_060))
    early = looked.begin_stage(1, after(60))
    assert not early.overdue(1, after(looked.current.max_seconds - 1))
    assert early.overdue(1, after(looked.current.max_seconds))


def test_a_revert_has_no_stages_and_says_whose_place_is_taken() -> None:
    state = pending(strategy="revert").begin_revert("reverted by ann: bad", "ann", NOW)
    assert (state.status, state.stage, len(state.stages)) == ("promoting", -1, 1)
    assert state.summary == "delays version 2: promoting in place of version 1: reverted by ann: bad"
    with pytest.raises(Conflict, match="cannot enter stage 0"):
        state.begin_stage(0, NOW)
    with pytest.raises(Conflict, match="nothing to look at"):
        state.looked("hold", "", NOW)
    with pytest.raises(Conflict, match="no new revert"):
        state.begin_revert("again", "ann", NOW)
    with pytest.raises(Conflict, match="no new revert"):
        pending().begin_revert("a canary", "ann", NOW)
    assert state.verify(NOW).finish(NOW).status == "promoted"
