"""What two manifests differ in is said, all of it, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fixtures.bundles import SIGNATURE, write_bundle_of

from modelyard.core.digest import digest_json
from modelyard.core.records import Release
from modelyard.release.bundle import read_bundle
from modelyard.release.differences import Change, differences


def changed(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> tuple[Change, ...]:
    bundles = [
        read_bundle(write_bundle_of(tmp_path / str(i), **given)[1].bundle) for i, given in enumerate((before, after))
    ]
    one, other = bundles
    return differences(one.release, other.release, one.files, other.files)


def words(found: tuple[Change, ...]) -> dict[str, str]:
    return {change.what: change.words for change in found}


def test_the_same_release_has_no_differences(tmp_path: Path) -> None:
    assert changed(tmp_path, {}, {}) == ()


def test_a_unit_that_is_converted_otherwise_is_named_by_its_feature(tmp_path: Path) -> None:
    distance, *others = SIGNATURE.inputs
    wrong = SIGNATURE.model_copy(update={"inputs": (distance.model_copy(update={"scale": 0.25}), *others)})
    override = {"serving_units": {"distance": {"scale": 0.25}}}
    found = changed(tmp_path, {}, {"signature": wrong, "overrides": override})
    assert words(found) == {
        "overrides.serving_units.distance.scale": "serving_units.distance.scale: absent -> 0.25",
        "signature.json.inputs.distance.scale": "inputs.distance.scale: 1 -> 0.25 (-0.75)",
    }
    assert [c.area for c in found] == ["overrides", "signature"]
    assert (found[1].before, found[1].after) == (1.0, 0.25)


def test_vocabularies_and_the_order_of_inputs_are_told(tmp_path: Path) -> None:
    distance, wind, carrier = SIGNATURE.inputs
    other = carrier.model_copy(update={"vocabulary": ("UA", "AA", "B6")})
    found = changed(tmp_path, {}, {"signature": SIGNATURE.model_copy(update={"inputs": (wind, distance, other)})})
    assert words(found) == {
        "signature.json.inputs.carrier.vocabulary": "inputs.carrier.vocabulary: without DL, with B6",
        "signature.json.order of inputs": "order of inputs: in another order",
    }


def test_an_input_that_is_gone_is_absent_after(tmp_path: Path) -> None:
    found = changed(tmp_path, {}, {"signature": SIGNATURE.model_copy(update={"inputs": SIGNATURE.inputs[:2]})})
    said = words(found)
    assert said["signature.json.order of inputs"] == "order of inputs: without carrier"
    assert said["signature.json.inputs.carrier.kind"] == "inputs.carrier.kind: categorical -> absent"


@pytest.mark.parametrize(
    ("part", "area"),
    [
        ("dataset", "data"), ("evaluation_window", "data"), ("feature_service", "features"), ("environment", "code"),
        ("params", "params"), ("architecture", "model"), ("policies", "policies"), ("policy.gates", "policies"),
        ("trigger", "origin"), ("something_new", "other"),
    ],
)  # fmt: skip
def test_each_part_has_its_area_and_an_unknown_one_is_not_lost(tmp_path: Path, part: str, area: str) -> None:
    (found,) = changed(tmp_path, {"parts": {part: digest_json("a")}}, {"parts": {part: digest_json("b")}})
    assert (found.area, found.what) == (area, f"parts.{part}")


def test_another_graph_is_a_changed_file(tmp_path: Path) -> None:
    (found,) = changed(tmp_path, {"onnx": b"one"}, {"onnx": b"two"})
    assert (found.area, found.what) == ("model", "files.model.onnx")


def test_numbers_are_told_with_their_difference_and_fields_of_the_manifest_too(tmp_path: Path) -> None:
    release, _ = write_bundle_of(tmp_path / "made")
    after = release.model_copy(update={"metrics": {"fit_logloss": 0.25}, "author": "ann", "version": 2})
    before = release.model_copy(update={"metrics": {"fit_logloss": 0.5}})
    assert words(differences(before, after, {}, {})) == {
        "metrics.fit_logloss": "fit_logloss (seen while training): 0.5 -> 0.25 (-0.25)",
        "author": "who made it: test -> ann",
        "version": "the version: 1 -> 2 (+1)",
    }


def test_every_field_of_a_manifest_is_compared(tmp_path: Path) -> None:
    """A field that a later version of the manifest brings is not passed over in silence."""
    release, _ = write_bundle_of(tmp_path / "made")
    for name in set(Release.model_fields) - {"files", "parts", "metrics", "overrides"}:
        whole, moments = ("version", "schema_version"), ("as_of", "created_at")
        value = 7 if name in whole else datetime(2001, 1, 1, tzinfo=UTC) if name in moments else "other"
        other = Release.model_construct(**{**release.__dict__, name: value})
        assert [c.what for c in differences(release, other, {}, {})] == [name]
