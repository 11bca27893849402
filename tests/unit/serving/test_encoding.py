"""Rows become tensors exactly as release.encode makes them of frames; what is not accepted is named."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.bundles import ROW, SIGNATURE
from hypothesis import given
from hypothesis import strategies as st

from modelyard.release.encode import encode
from modelyard.release.signature import Signature
from modelyard.serving.encoding import Encoder
from modelyard.serving.errors import Refusal

SCALED = SIGNATURE.model_copy(
    update={"inputs": (SIGNATURE.inputs[0].model_copy(update={"scale": 1.6, "offset": -3.0}), *SIGNATURE.inputs[1:])}
)
rows = st.lists(
    st.fixed_dictionaries(
        {"distance": st.floats(0, 10_000), "carrier": st.sampled_from(["UA", "DL", "AA", "ZZ", "", 7, None])},
        optional={"wind": st.none() | st.floats(-1e6, 1e6) | st.integers(-1000, 1000)},
    ),
    min_size=1,
    max_size=8,
)


@given(rows=rows, signature=st.sampled_from([SIGNATURE, SCALED]))
def test_rows_are_encoded_as_frames_are(rows: list[dict[str, object]], signature: Signature) -> None:
    encoded = Encoder(signature).encode(rows)
    columns = {i.name: [row.get(i.name) for row in rows] for i in signature.inputs}
    expected = encode(columns, signature, units="serving")
    np.testing.assert_array_equal(encoded.numeric, expected["numeric"])
    np.testing.assert_array_equal(encoded.categorical, expected["categorical"])


@pytest.mark.parametrize(
    ("change", "field", "accepted"),
    [
        ({"distance": -1}, "distance", ">= 0 and <= 10000"),
        ({"distance": 1e9}, "distance", "<= 10000"),
        ({"distance": None}, "distance", "a finite number"),
        ({"distance": "12"}, "distance", "a finite number"),
        ({"distance": True}, "distance", "a finite number"),
        ({"distance": [1]}, "distance", "a finite number"),
        ({"distance": float("nan")}, "distance", "a finite number"),
        ({"wind": float("inf")}, "wind", "or null"),
        ({"wind": 1e300}, "wind", "a finite number"),
        ({"wind": 10**400}, "", ""),
        ({"carrier": True}, "carrier", "a text"),
        ({"carrier": {"a": 1}}, "carrier", "a text"),
    ],
)
def test_what_is_not_accepted_is_named(change: dict[str, object], field: str, accepted: str) -> None:
    with pytest.raises(Refusal) as refused:
        Encoder(SIGNATURE).encode([ROW, ROW | change])
    assert refused.value.status == 422
    if field:
        error = refused.value.body()["error"]
        assert (error["field"], error["row"]) == (field, 1)
        assert accepted in error["accepted"]


def test_a_category_that_must_be_there_must_be_there() -> None:
    strict = SIGNATURE.inputs[2].model_copy(update={"nullable": False})
    signature = SIGNATURE.model_copy(update={"inputs": (*SIGNATURE.inputs[:2], strict)})
    with pytest.raises(Refusal, match="carrier"):
        Encoder(signature).encode([ROW | {"carrier": None}])
    assert Encoder(signature).encode([ROW | {"carrier": "never seen"}]).categorical.tolist() == [[0]]


def test_a_model_of_categories_only() -> None:
    signature = SIGNATURE.model_copy(update={"inputs": SIGNATURE.inputs[2:]})
    encoded = Encoder(signature).encode([ROW, ROW])
    assert encoded.numeric.shape == (2, 0)
    assert len(encoded) == 2


def test_rows_that_stand_beside_each_other_are_taken_without_a_copy() -> None:
    encoded = Encoder(SIGNATURE).encode([ROW | {"wind": n} for n in range(5)])
    for places, shared in (([1, 2, 3], True), ([4], True), ([0, 2, 3], False), ([], False)):
        taken = encoded.take(places)
        np.testing.assert_array_equal(taken.numeric, encoded.numeric[places])
        assert taken.texts == tuple(encoded.texts[place] for place in places)
        assert np.shares_memory(taken.numeric, encoded.numeric) == shared
