"""What the files of a bundle are, by their bytes: whether reading one can run code, and what cannot be watched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from modelyard.core.profile import SCORE, Profile
from modelyard.core.verdict import Measurement
from modelyard.release.score import BundleModel

_JSON, _ONNX, _SAFETENSORS = ".json", ".onnx", ".safetensors"
PLAIN = (_JSON, _ONNX, _SAFETENSORS)
"""Forms that hold data and no code: JSON, protocol buffers, and a header of JSON before plain numbers."""


def measure_files(files: Mapping[str, bytes], release: str) -> Measurement:
    """``pickled_files``: files that are no plain data, judged by what is in them and not by their name alone."""
    suspect = sorted(f"{name} ({why})" for name, content in files.items() if (why := _suspect(name, content)))
    told = "; ".join(suspect) if suspect else f"{len(files)} files, all plain data"
    return Measurement(name="pickled_files", value=len(suspect), n=len(files), subject=release, evidence=told)


def measure_watched(model: BundleModel, files: Mapping[str, bytes]) -> Measurement:
    """``unwatched_inputs``: inputs, and the score, that the bundle's profile has no reference for."""
    release, names = model.release.digest, [i.name for i in model.signature.inputs] + [SCORE]
    if "profile.json" not in files:
        told = "the bundle has no profile.json"
        return Measurement(name="unwatched_inputs", value=len(names), n=len(names), subject=release, evidence=told)
    profile = Profile.from_json(files["profile.json"])
    missing = [name for name in names if name not in profile.names]
    told = f"without a reference: {', '.join(missing)}" if missing else ""
    return Measurement(name="unwatched_inputs", value=len(missing), n=len(names), subject=release, evidence=told)


def _suspect(name: str, content: bytes) -> str:
    """Why a file may run code when it is read; empty: it may not."""
    if not name.endswith(PLAIN):
        return f"not one of {', '.join(PLAIN)}"
    if name.endswith(_JSON):
        return "" if _is_json(content) else "no JSON"
    if name.endswith(_SAFETENSORS):
        return "" if _is_safetensors(content) else "no safetensors"
    return next(_looks_like(content), "")


def _looks_like(content: bytes) -> Iterator[str]:
    # A pickle of protocol 2 or later begins with 0x80 and its number; a ZIP (torch.save) holds one.
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        yield "a pickle"
    if content[:4] == b"PK\x03\x04":
        yield "a ZIP archive"


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _is_safetensors(content: bytes) -> bool:
    """Eight bytes of length, then a JSON object of that length, then numbers."""
    length = int.from_bytes(content[:8], "little")
    return 0 < length <= len(content) - 8 and content[8:9] == b"{" and _is_json(content[8 : 8 + length])
