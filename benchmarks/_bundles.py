"""The benchmarks' model: its bundle, and requests for it.

It has the flight model's shape (27 numbers, 4 categories, some 16,700 parameters) and random weights; accuracy is
another benchmark's matter.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from modelyard.core.digest import digest_bytes, digest_json
from modelyard.core.records import Release
from modelyard.ports.fleet import Arm
from modelyard.release.bundle import SIGNED
from modelyard.release.signature import Calibration, Input, Signature
from modelyard.signing.keys import Ed25519Signer
from modelyard.signing.statement import sign_release

if TYPE_CHECKING:
    from modelyard.training.model import Trained

MODEL, NUMBERS, CATEGORIES, WORDS, WIDE, HIDDEN = "bench", 27, 4, 50, 8, 96
PATH = f"/v1/models/{MODEL}/predict"
KEY = Ed25519Signer.make(seed=b"a key for benchmarks and nothing")


def graph(seed: int, *, fails: bool = False) -> bytes:
    """An MLP with embeddings, of weights drawn with this seed; missing numbers count as zero.

    One that ``fails`` does so wherever a number is positive: it can be loaded, and has no answer for its users.
    """
    from onnx import TensorProto, helper, numpy_helper

    random, nodes, initial = np.random.default_rng(seed), [], []

    def constant(name: str, value: Any) -> str:
        initial.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(name: str, *shape: int) -> str:
        return constant(name, random.normal(0, 0.1, shape).astype(np.float32))

    def node(kind: str, *inputs: str, out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    missing = node("IsNaN", "numeric", out="missing")
    parts = [node("Where", missing, constant("zero", np.float32(0)), "numeric", out="filled")]
    for place in range(CATEGORIES):
        column = node("Gather", "categorical", constant(f"at{place}", np.int64(place)), out=f"column{place}", axis=1)
        parts.append(
            node("Gather", weights(f"embedding{place}", WORDS + 1, WIDE), column, out=f"embedded{place}", axis=0)
        )
    wide = NUMBERS + CATEGORIES * WIDE
    hidden = node("Concat", *parts, out="all", axis=1)
    for layer, (rows, columns) in enumerate([(wide, HIDDEN), (HIDDEN, HIDDEN)]):
        linear = node(
            "Gemm", hidden, weights(f"w{layer}", rows, columns), weights(f"b{layer}", columns), out=f"z{layer}"
        )
        hidden = node("Relu", linear, out=f"h{layer}")
    last = node("Gemm", hidden, weights("w", HIDDEN, 1), weights("b", 1), out="last")
    flat = node("Reshape", last, constant("flat", np.array([-1])), out="fine" if fails else "logit")
    if fails:
        positive = node("Greater", node("ReduceMax", "numeric", out="most", keepdims=0), "zero", out="positive")
        place = node("Cast", positive, out="place", to=TensorProto.INT64)
        # Beyond the end of what is gathered from: the runtime refuses.
        node("Mul", flat, node("Gather", constant("one", np.ones(1, np.float32)), place, out="times"), out="logit")
    inputs = [
        helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["n", NUMBERS]),
        helper.make_tensor_value_info("categorical", TensorProto.INT64, ["n", CATEGORIES]),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(helper.make_graph(nodes, "bench", inputs, outputs, initial), opset_imports=opset)
    model.ir_version = 10
    data: bytes = model.SerializeToString()
    return data


def signature() -> Signature:
    """What the model asks for: 27 numbers that may be missing, 4 categories of 50 words."""
    numbers = [Input(name=f"n{i}", kind="numeric", source="request", nullable=True) for i in range(NUMBERS)]
    words = tuple(f"w{i}" for i in range(WORDS))
    texts = [Input(name=f"c{i}", kind="categorical", source="request", vocabulary=words) for i in range(CATEGORIES)]
    return Signature(model=MODEL, key="key", inputs=(*numbers, *texts))


def trust(home: Path, *others: Ed25519Signer) -> None:
    """Let a gateway with this home load the benchmarks' bundles, and those that others have signed."""
    (home / "trusted-keys.pem").write_text("".join(one.trusted().pem() for one in (KEY, *others)))


def bundle(folder: Path, version: int, onnx: bytes | None = None, wanted: Signature | None = None) -> Arm:
    """Write a bundle of this version, with weights of its own or the graph that is given; returns its arm.

    ``wanted`` is its signature where that is not the usual one.
    """
    files = {
        "model.onnx": graph(version) if onnx is None else onnx,
        "signature.json": (wanted or signature()).to_json().encode(),
        "calibration.json": Calibration(a=1.0, b=0.0).to_json().encode(),
    }
    digests = {name: digest_bytes(data) for name, data in files.items()}
    when = "2026-01-01T00:00:00Z"
    release = Release.model_validate(
        {
            "model": MODEL, "version": version, "semver": "1.0.0", "mlflow_run_id": "none", "code_commit": "none",
            "created_at": when, "as_of": when, "reason": "benchmark", "author": "benchmark",
            "snapshot": digest_json(0), "dvc_md5": "0" * 32, "files": digests, "parts": {},
        }
    )  # fmt: skip
    folder.mkdir(parents=True)
    signed = sign_release(release, KEY).to_json().encode()
    for name, data in (files | {"manifest.json": release.to_json().encode(), SIGNED: signed}).items():
        (folder / name).write_bytes(data)
    return Arm(release=release.digest, version=version, bundle=folder.as_uri())


def row(n: int) -> dict[str, Any]:
    """One row of a request; one category in six is none that the model knows."""
    random = np.random.default_rng(n)
    numbers = {f"n{i}": round(float(x), 3) for i, x in enumerate(random.normal(0, 1, NUMBERS))}
    return {"key": f"k{n}"} | numbers | {f"c{i}": f"w{random.integers(0, 60)}" for i in range(CATEGORIES)}


def values(n: int) -> tuple[list[float], list[int]]:
    """The same row as the graph takes it: numbers, and codes of the categories (0: unknown)."""
    given = row(n)
    codes = [1 + int(given[f"c{i}"][1:]) for i in range(CATEGORIES)]
    return [given[f"n{i}"] for i in range(NUMBERS)], [code if code <= WORDS else 0 for code in codes]


def ours(n: int) -> bytes:
    """The n-th request's body for the gateway and for FastAPI."""
    return json.dumps({"rows": [row(n)]}).encode()


def mlflows(n: int) -> bytes:
    """The same for ``mlflow models serve``, which takes tensors."""
    numeric, categorical = values(n)
    return json.dumps({"inputs": {"numeric": [numeric], "categorical": [categorical]}}).encode()


def large_graph() -> tuple[bytes, int]:
    """The standard network, two hidden layers of 1,370, as the platform exports it, and its number of parameters."""
    import pandas as pd
    import torch

    from modelyard.training.export import export_onnx
    from modelyard.training.fit import Fitted
    from modelyard.training.network import Shape, TabularNetwork

    torch.manual_seed(1)
    wanted, sample = signature(), pd.DataFrame([row(n) for n in range(8)])
    shape = Shape(NUMBERS, tuple(range(NUMBERS)), (WORDS + 1,) * CATEGORIES, (1370, 1370), WIDE, 0.0)
    network = TabularNetwork(shape).eval()
    trained = SimpleNamespace(signature=wanted, fitted=Fitted(network, (), 0, "cpu"))
    content, _ = export_onnx(cast("Trained", trained), sample)
    return content, sum(each.numel() for each in network.parameters())
