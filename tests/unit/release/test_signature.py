"""A signature's names reach SQL and file columns: anything else than a plain name is refused when it is read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelyard.release.signature import Input, Signature


@pytest.mark.parametrize("name", ["", "9x", "a b", 'x" --', "x\n", "a" * 64, "é"])
def test_names_are_plain(name: str) -> None:
    good = Input(name="x", kind="numeric", source="weather")
    with pytest.raises(ValidationError, match="pattern"):
        Input(name=name, kind="numeric", source="request")
    with pytest.raises(ValidationError, match="pattern"):
        Input(name="x", kind="numeric", source=name)
    for entities in ({name: {"origin": "from"}}, {"weather": {name: "from"}}):
        with pytest.raises(ValidationError, match="pattern"):
            Signature(model="m", key="k", inputs=(good,), entities=entities)
    assert Signature(model="m", key="k", inputs=(good,), entities={"weather": {"origin": "from"}}).inputs == (good,)
