"""What the typed decoder takes, the careful one takes, with the same tensors; the common case is taken."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fixtures.bundles import ROW, SIGNATURE
from hypothesis import given
from hypothesis import strategies as st

from modelyard.release.signature import Signature
from modelyard.serving.encoding import Encoder
from modelyard.serving.requests import read_predict
from modelyard.serving.served import row_keys
from modelyard.serving.typed import NOT_PLAIN, TypedRows, typed_rows, values

FIRST, SECOND, THIRD = SIGNATURE.inputs
SCALED = SIGNATURE.model_copy(
    update={"inputs": (FIRST.model_copy(update={"scale": 1.6, "offset": -3.0}), *SIGNATURE.inputs[1:])}
)
STRICT = SIGNATURE.model_copy(update={"inputs": (FIRST, SECOND, THIRD.model_copy(update={"nullable": False}))})
WORDS = SIGNATURE.model_copy(update={"inputs": (THIRD,)})
VIEW = SIGNATURE.model_copy(update={"inputs": (FIRST, SECOND.model_copy(update={"source": "weather"}), THIRD)})

anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(-2e4, 2e4),
    st.sampled_from(["", "UA", "é\"\n", 7, 7.0, 10**400]),
    st.sampled_from([[1], {"a": 1}, 2**53 + 1, -1, 1e300, 10_000, 0]),
)  # fmt: skip
rows = st.fixed_dictionaries(
    {}, optional={name: anything | st.just(ROW[name]) for name in ROW} | {"more": anything}
) | st.just(ROW)
bodies = st.fixed_dictionaries(
    {"rows": st.lists(rows, max_size=2)},
    optional={
        "probe": st.booleans() | st.just(1),
        "event_time": st.sampled_from([None, 3, "2013-04-09T12:00:00Z"]),
        "x": anything,
    },
)


def decoder(signature: Signature) -> TypedRows:
    made = typed_rows(signature)
    assert made is not None
    return made


@given(body=bodies, signature=st.sampled_from([SIGNATURE, SCALED, STRICT, WORDS, VIEW]))
def test_what_is_plain_means_the_same_to_the_careful_way(body: dict[str, Any], signature: Signature) -> None:
    data, typed = json.dumps(body).encode(), decoder(signature)
    try:
        request = typed.decode(data)
    except NOT_PLAIN:
        return
    careful = read_predict(data)  # raises where it refuses, and so do the next two
    expected, keys = Encoder(signature).encode(careful.rows), row_keys(careful.rows, signature.key)
    encoded, found = typed.encode([values(row) for row in request.rows])
    np.testing.assert_array_equal(encoded.numeric, expected.numeric)
    np.testing.assert_array_equal(encoded.categorical, expected.categorical)
    assert (encoded.texts, found) == (expected.texts, keys)
    assert (request.event_time, False) == (careful.event_time, careful.probe)


@pytest.mark.parametrize(
    "change", [{}, {"wind": None}, {"carrier": None}, {"carrier": "??"}, {"carrier": 7}, {"flight": 7}, {"distance": 3}]
)
def test_the_common_case_is_plain(change: dict[str, object]) -> None:
    typed = decoder(SIGNATURE)
    (row,) = typed.decode(json.dumps({"rows": [ROW | change]}).encode()).rows
    careful = Encoder(SIGNATURE).encode([ROW | change])
    np.testing.assert_array_equal(typed.encode([values(row)])[0].numeric, careful.numeric)
    without = {name: value for name, value in ROW.items() if name != "wind"}
    assert np.isnan(
        typed.encode([values(typed.decode(json.dumps({"rows": [without]}).encode()).rows[0])])[0].numeric[0, 1]
    )


def test_a_view_feature_that_is_not_in_the_row_is_for_the_store() -> None:
    without = {name: value for name, value in ROW.items() if name != "wind"}
    with pytest.raises(NOT_PLAIN):
        decoder(VIEW).decode(json.dumps({"rows": [without]}).encode())
    assert decoder(VIEW).decode(json.dumps({"rows": [ROW]}).encode())


def test_a_key_that_is_an_input_as_well_has_no_typed_decoder() -> None:
    assert typed_rows(SIGNATURE.model_copy(update={"key": "carrier"})) is None
    assert typed_rows(SIGNATURE.model_copy(update={"key": 'a "key"'})) is None
