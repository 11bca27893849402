"""A file is judged by what is in it."""

from __future__ import annotations

import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from fixtures.small_model import Small

from modelyard.evaluation.files import measure_files, measure_watched
from modelyard.release.score import BundleModel

RELEASE = "sha256:" + "a" * 64


def zipped() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return out.getvalue()


SAFE = (2).to_bytes(8, "little") + b"{}" + b"\x00\x01"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.pkl", b"{}", "not one of .json"),
        ("model.onnx", pickle.dumps({"a": 1}), "a pickle"),
        ("model.onnx", pickle.dumps({"a": 1}, protocol=2), "a pickle"),
        ("model.onnx", zipped(), "a ZIP archive"),
        ("weights.safetensors", pickle.dumps([1, 2]), "no safetensors"),
        ("weights.safetensors", b"", "no safetensors"),
        ("profile.json", pickle.dumps("{}", protocol=0), "no JSON"),
    ],
)
def test_what_can_run_code_is_found(name: str, content: bytes, why: str) -> None:
    found = measure_files({"calibration.json": b"{}", name: content}, RELEASE)
    assert (found.value, found.n) == (1, 2)
    assert f"{name} ({why}" in found.evidence


def test_plain_data_is_not() -> None:
    assert measure_files({"a.json": b"[1]", "w.safetensors": SAFE, "m.onnx": b"\x08\x0a"}, RELEASE).value == 0


def test_what_nobody_watches_is_named(tmp_path: Path) -> None:
    small = Small(tmp_path)
    found = measure_watched(BundleModel(small.bundle), small.bundle.files)
    assert (found.value, found.n) == (4, 4)
    assert "profile.json" in found.evidence
