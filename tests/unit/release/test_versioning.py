"""Versions grow by what a caller would notice, and are never used twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelyard.core.digest import digest_json
from modelyard.core.records import Release
from modelyard.release.signature import Input, Signature
from modelyard.release.versioning import WEIGHTS, interface_digest, next_version

PARTS = {"architecture": "a", "interface": "i", "params": "p"}
FILES = {WEIGHTS: digest_json("new")}
NOW = datetime(2013, 4, 9, tzinfo=UTC)


def release(semver: str, parts: dict[str, str] = PARTS) -> Release:
    return Release(
        model="m", version=1, semver=semver, mlflow_run_id="r", code_commit="c", created_at=NOW, as_of=NOW, reason="x",
        author="y", snapshot=digest_json(1), dvc_md5="", files={WEIGHTS: digest_json("old")}, parts=parts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "base", "taken", "wanted"),
    [
        (PARTS, None, [], "1.0.0"),
        (PARTS, "1.0.0", ["1.0.0"], "1.1.0"),
        (PARTS | {"params": "other"}, "1.0.0", ["1.0.0"], "1.1.0"),
        (PARTS | {"interface": "other"}, "1.1.0", ["1.0.0", "1.1.0"], "2.0.0"),
        (PARTS | {"architecture": "other"}, "1.1.0", ["1.0.0", "1.1.0"], "2.0.0"),
        # A release that was turned down keeps its version; the champion's family goes on.
        (PARTS, "1.1.0", ["1.0.0", "1.1.0", "2.0.0"], "1.2.0"),
        (PARTS, "1.1.0", ["1.0.0", "1.1.0", "1.2.0"], "1.3.0"),
        (PARTS | {"interface": "other"}, "1.1.0", ["1.1.0", "2.0.0"], "3.0.0"),
    ],
)
def test_the_next_version(parts: dict[str, str], base: str | None, taken: list[str], wanted: str) -> None:
    assert str(next_version(parts, FILES, release(base) if base else None, taken)) == wanted


@pytest.mark.parametrize(
    ("parts", "base", "taken", "wanted"),
    [
        (PARTS, "1.0.0", ["1.0.0"], "1.0.1"),
        (PARTS | {"params": "other"}, "1.1.0", ["1.0.0", "1.1.0", "1.1.1", "1.2.0"], "1.1.2"),
        (PARTS | {"interface": "other"}, "1.0.0", ["1.0.0"], "2.0.0"),
    ],
)
def test_the_same_weights_are_a_fix(parts: dict[str, str], base: str, taken: list[str], wanted: str) -> None:
    assert str(next_version(parts, release(base).files, release(base), taken)) == wanted


def test_without_weights_nothing_is_known_to_be_the_same() -> None:
    bare = release("1.0.0").model_copy(update={"files": {}})
    assert str(next_version(PARTS, {}, bare, ["1.0.0"])) == "1.1.0"


def test_the_interface_is_what_a_caller_must_know() -> None:
    def signature(**change: object) -> Signature:
        item = Input.model_validate({"name": "c", "kind": "categorical", "source": "request"} | change)
        return Signature(model="m", key="id", inputs=(item,))

    base = interface_digest(signature())
    assert interface_digest(signature(vocabulary=("A", "B"))) == base
    assert interface_digest(signature(nullable=True)) != base
    assert interface_digest(signature(scale=2.0)) != base
