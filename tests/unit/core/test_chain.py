"""The hash chain: whatever is done to its entries is found; an honest one is whole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.chain import MOST_FAULTS, START, Entry, Head, follow, walk

texts = st.lists(st.text(max_size=20), min_size=2, max_size=12)


def chain(parts: Sequence[str]) -> list[Entry]:
    head, made = START, []
    for part in parts:
        made.append(follow(head, part))
        head = head_of(made)
    return made


def head_of(entries: Sequence[Entry]) -> Head:
    return Head(entries[-1].seq, entries[-1].digest) if entries else START


@given(texts)
def test_an_honest_chain_is_whole_and_anchored_as_far_as_it_was_noted(parts: list[str]) -> None:
    entries = chain(parts)
    found = walk(entries, head_of(entries), {1: entries[0].digest})
    assert (found.whole, found.entries, found.anchored, found.head) == (True, len(parts), 1, head_of(entries))
    assert walk([], START, {}).whole


@given(texts, st.data())
def test_an_entry_changed_removed_moved_or_inserted_is_found(parts: list[str], data: st.DataObject) -> None:
    entries = chain(parts)
    head, at = head_of(entries), data.draw(st.integers(0, len(parts) - 1))
    changed = [*entries]
    changed[at] = entries[at]._replace(text=entries[at].text + "!")
    other = data.draw(st.integers(0, len(parts) - 1).filter(lambda i: i != at))
    moved = [*entries]
    moved[at], moved[other] = moved[other], moved[at]
    for forged in (
        changed,
        entries[:at] + entries[at + 1 :],
        moved,
        [*entries[:at], follow(head_of(entries[:at]), "mine"), *entries[at:]],
        [*entries, follow(head, "mine")],
    ):
        assert not walk(forged, head, {}).whole


@given(texts, st.data())
def test_a_tail_cut_off_with_its_head_is_found_by_an_anchor(parts: list[str], data: st.DataObject) -> None:
    entries = chain(parts)
    kept = entries[: data.draw(st.integers(0, len(parts) - 1))]
    assert not walk(kept, head_of(entries), {}).whole
    assert not walk(kept, head_of(kept), dict([head_of(entries)])).whole


@given(texts, st.data())
def test_a_history_written_anew_is_found_by_an_anchor(parts: list[str], data: st.DataObject) -> None:
    entries, at = chain(parts), data.draw(st.integers(0, len(parts) - 1))
    anew = chain([*parts[:at], parts[at] + "!", *parts[at + 1 :]])
    assert walk(anew, head_of(anew), {}).whole
    assert any("rewritten" in fault for fault in walk(anew, head_of(anew), dict([head_of(entries)])).faults)


def test_a_chain_in_ruins_is_told_in_bounds() -> None:
    entries = [entry._replace(text="x") for entry in chain(["a"] * 300)]
    assert len(walk(entries, head_of(entries), {}).faults) == MOST_FAULTS


@pytest.mark.parametrize("text", ["", "3", "x:sha256:" + "0" * 64, "3:sha256:0", "-1:sha256:" + "0" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no head of a chain"):
        Head.parse(text)
