"""A revert in the history is told, and is no outcome of the demo's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
from fixtures.demo import NOW, FakeAirflow, ledger
from unit.demo.test_story import rollout

from modelyard.core.digest import digest_json
from modelyard.demo.gateway_client import Tally
from modelyard.demo.story import Story
from modelyard.demo.summary import summarise
from modelyard.rollout.state import Event


def test_a_revert_is_told_without_stages_and_is_no_promotion_of_the_demo() -> None:
    events = (Event(at=NOW, kind="promoting", stage=-1), Event(at=NOW, kind="promoted", stage=-1))
    revert = rollout("old", "promoted", "revert").model_copy(update={"events": events, "stage": -1})
    release = SimpleNamespace(overrides={}, as_of=NOW, digest=digest_json("old"))
    book = ledger(rollouts=[revert], releases={digest_json("old"): release})
    log = pd.DataFrame({"served_at": pd.to_datetime([], utc=True), "variant": []})
    platform: Any = SimpleNamespace(ledger=book, predictions=SimpleNamespace(rollout=lambda *_: log))
    (told,) = summarise(platform, "m", FakeAirflow(), Tally(), {})["rollouts"]  # type: ignore[arg-type]
    assert (told["strategy"], told["outcome"], told["stages"]) == ("revert", "promoted", [])
    story = Story(platform, SimpleNamespace(name="m"), SimpleNamespace())  # type: ignore[arg-type]
    assert not story.ended
