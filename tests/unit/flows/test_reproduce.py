"""What making a release again comes to: on the CPU to the last bit, on a GPU as far as rounding goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.core.digest import digest_bytes, digest_json
from modelyard.core.records import Release
from modelyard.flows.reproduce import compare

NOW = datetime(2013, 4, 9, tzinfo=UTC)
FILES = {"model.onnx": b"graph", "weights.safetensors": b"weights"}
METRICS = {"validation_logloss": 0.5, "epochs": 6.0}


def release(**parts: str) -> Release:
    return Release(
        model="m", version=1, semver="1.0.0", mlflow_run_id="r", code_commit="c", created_at=NOW, as_of=NOW, reason="x",
        author="y", snapshot=digest_json(1), dvc_md5="",
        files={name: digest_bytes(data) for name, data in FILES.items()}, metrics=METRICS,
        parts={"params": "p"} | parts,
    )  # fmt: skip


@dataclass
class Made:
    """The part of a candidate that is compared."""

    files: dict[str, bytes]
    metrics: dict[str, float]


def again(recorded: Release, files: dict[str, bytes], metrics: dict[str, float], device: str = "cpu") -> dict[str, str]:
    made: Any = Made(FILES | files, METRICS | metrics)
    found = compare(recorded, {"params": "p", "device": device}, made)
    return {c.what: c.result for c in found.results} | {"same": str(found.same)}


def test_the_same_is_the_same() -> None:
    assert again(release(device="cpu"), {}, {}) == dict.fromkeys([*FILES, *METRICS], "same") | {"same": "True"}


@pytest.mark.parametrize(
    ("files", "metrics", "differs"),
    [
        ({"model.onnx": b"other"}, {}, "model.onnx"),
        ({}, {"validation_logloss": 0.5 + 1e-16 * 2}, "validation_logloss"),
        ({}, {"validation_logloss": float("nan")}, "validation_logloss"),
    ],
)
def test_on_the_cpu_a_single_bit_is_a_difference(
    files: dict[str, bytes], metrics: dict[str, float], differs: str
) -> None:
    found = again(release(), files, metrics)
    assert (found[differs], found["same"]) == ("differs", "False")
    assert sum(result == "differs" for result in found.values()) == 1


@pytest.mark.parametrize(("recorded", "now"), [("cuda", "cuda"), ("cpu", "cuda"), ("cuda", "cpu")])
def test_on_a_gpu_bits_may_differ_and_numbers_may_not(recorded: str, now: str) -> None:
    found = again(release(device=recorded), {"model.onnx": b"other"}, {"validation_logloss": 0.5005}, now)
    assert found == {
        "model.onnx": "open", "weights.safetensors": "same", "validation_logloss": "same", "epochs": "same",
        "same": "True",
    }  # fmt: skip
    assert again(release(device=recorded), {}, {"validation_logloss": 0.502}, now)["same"] == "False"


def test_what_does_not_come_out_any_more_is_a_difference() -> None:
    made: Any = Made({}, {})
    assert {c.result for c in compare(release(), {"device": "cpu"}, made).results} == {"differs"}


def test_of_nothing_nothing_is_the_same() -> None:
    bare = release().model_copy(update={"files": {}, "metrics": {}})
    assert not compare(bare, {"device": "cpu"}, Made({}, {})).same  # type: ignore[arg-type]


def test_what_it_is_made_from_is_compared_for_those_who_look_for_the_cause() -> None:
    made: Any = Made(FILES, METRICS)
    found = compare(
        release(environment="old"), {"params": "p", "environment": "new", "late": "x", "device": "cpu"}, made
    )
    assert {c.what: c.result for c in found.inputs} == {
        "params": "same", "environment": "differs", "late": "open", "device": "open",
    }  # fmt: skip
    assert found.same
