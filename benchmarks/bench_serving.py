"""The gateway beside its peers: single-row requests over 32 connections, in interleaved rounds on one machine.

The gateway runs with everything on: validation, split, metrics, prediction log, and with a challenger guardrails and
(where said) pairing. Only ratios mean anything: the load generator shares the machine's cores; the processor time per
request is less moved by who else is on them. The model has the flight model's shape (27 numbers, 4
categories, some 16,700 parameters) and random weights; accuracy is another benchmark's matter.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
from _load import Result, client, load, open_loop
from _report import Row, write

from modelyard.core.digest import digest_bytes, digest_json
from modelyard.core.records import Release
from modelyard.ports.fleet import Arm, Route
from modelyard.release.signature import Calibration, Input, Signature

HERE = Path(__file__).parent
MODEL, NUMBERS, CATEGORIES, WIDE, HIDDEN = "bench", 27, 4, 8, 96
OURS, FIRST, PAIRED = "gateway", "gateway, canary 5%", "gateway, canary 20%, paired"
OFF = "gateway, log and metrics off"
HELLO, BARE = "hello-world by ASGI, same server", "hello-world past ASGI, same server"
TOKEN = "only-for-this-benchmark"  # noqa: S105


def graph(seed: int) -> bytes:
    """An MLP with embeddings; missing numbers count as zero."""
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
        parts.append(node("Gather", weights(f"embedding{place}", 51, WIDE), column, out=f"embedded{place}", axis=0))
    wide = NUMBERS + CATEGORIES * WIDE
    hidden = node("Concat", *parts, out="all", axis=1)
    for layer, (rows, columns) in enumerate([(wide, HIDDEN), (HIDDEN, HIDDEN)]):
        linear = node(
            "Gemm", hidden, weights(f"w{layer}", rows, columns), weights(f"b{layer}", columns), out=f"z{layer}"
        )
        hidden = node("Relu", linear, out=f"h{layer}")
    last = node("Gemm", hidden, weights("w", HIDDEN, 1), weights("b", 1), out="last")
    node("Reshape", last, constant("flat", np.array([-1])), out="logit")
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


def bundle(folder: Path, version: int) -> Arm:
    """Write a bundle; returns its arm."""
    numbers = [Input(name=f"n{i}", kind="numeric", source="request", nullable=True) for i in range(NUMBERS)]
    words = tuple(f"w{i}" for i in range(50))
    texts = [Input(name=f"c{i}", kind="categorical", source="request", vocabulary=words) for i in range(CATEGORIES)]
    files = {
        "model.onnx": graph(version),
        "signature.json": Signature(model=MODEL, key="key", inputs=(*numbers, *texts)).to_json().encode(),
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
    for name, data in (files | {"manifest.json": release.to_json().encode()}).items():
        (folder / name).write_bytes(data)
    return Arm(release=release.digest, version=version, bundle=folder.as_uri())


def row(n: int) -> dict[str, Any]:
    """One row of a request."""
    random = np.random.default_rng(n)
    numbers = {f"n{i}": round(float(x), 3) for i, x in enumerate(random.normal(0, 1, NUMBERS))}
    return {"key": f"k{n}"} | numbers | {f"c{i}": f"w{random.integers(0, 60)}" for i in range(CATEGORIES)}


def ours(n: int) -> bytes:
    """A request's body for the gateway and for FastAPI."""
    return json.dumps({"rows": [row(n)]}).encode()


def mlflows(n: int) -> bytes:
    """The same for ``mlflow models serve``, which takes tensors."""
    values = row(n)
    numeric = [[values[f"n{i}"] for i in range(NUMBERS)]]
    return json.dumps({"inputs": {"numeric": numeric, "categorical": [[1] * CATEGORIES]}}).encode()


class Server(NamedTuple):
    """A server that answers."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time of it and its children so far."""
        first = psutil.Process(self.pid)
        times = [each.cpu_times() for each in (first, *first.children(recursive=True))]
        return sum(t.user + t.system for t in times)


Target = tuple[Server, str, Callable[[int], bytes]]


@contextmanager
def process(command: list[str], port: int, path: str, **env: str) -> Iterator[Server]:
    """A server as a process of its own group; yields it once it answers."""
    started = subprocess.Popen(
        command, env=os.environ | env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            try:
                httpx.get(f"http://127.0.0.1:{port}{path}")
                break
            except httpx.TransportError:
                assert started.poll() is None, f"{command} ended"
                time.sleep(0.1)
        yield Server(port, started.pid)
    finally:
        os.killpg(started.pid, 15)
        started.wait()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def gateway(folder: Path, name: str, route: Route, *, off: bool = False) -> Any:
    """A gateway with this route; ``off`` without log and metrics."""
    home, port = folder / name, free_port()
    home.mkdir()
    (home / "token").write_text(TOKEN)
    env = {"MODELYARD_HOME": str(home), "MODELYARD_ADMIN_TOKEN_FILE": str(home / "token")}
    program = [str(HERE / "_peers.py"), "off"] if off else ["-m", "modelyard.serving"]
    command = [sys.executable, *program, "--replica", name, "--port", str(port)]

    @contextmanager
    def started() -> Iterator[Server]:
        with process(command, port, "/healthz", **env) as server:
            body = {"route": route.to_dict(), "generation": 1}
            headers = {"authorization": f"Bearer {TOKEN}"}
            url = f"http://127.0.0.1:{port}/admin/v1/models/{MODEL}/route"
            httpx.put(url, json=body, headers=headers, timeout=60).raise_for_status()
            yield server

    return started()


def mlflow_server(folder: Path, port: int) -> Any:
    """``mlflow models serve`` on the same graph."""
    import mlflow.onnx
    import onnx

    path = folder / "mlflow"
    mlflow.onnx.save_model(onnx.load_from_string(graph(1)), str(path), pip_requirements=["onnxruntime"])
    tool = Path(sys.executable).with_name("mlflow")
    command = [str(tool), "models", "serve", "-m", str(path), "-p", str(port), "--env-manager", "local"]
    # The tool calls `uvicorn` and `python` by name.
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return process(command, port, "/ping", PATH=places, MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")


def one_load(server: Server, path: str, body: Callable[[int], bytes], seconds: float) -> Result:
    """A load, with what it cost the server."""
    before = server.cpu_s()
    result = load(server.port, path, body, connections=32, seconds=seconds)
    return replace(result, cpu_us=1e6 * (server.cpu_s() - before) / result.requests)


def start(args: argparse.Namespace, folder: Path, enter: Callable[[Any], Server]) -> dict[str, Target]:
    """All servers, by name."""
    old, new = bundle(folder / "one", 1), bundle(folder / "two", 2)
    alone = Route(model=MODEL, champion=old)
    limits = {"disagreement_above": 0.99, "latency_budget": 0.9}
    first = Route(
        model=MODEL, champion=old, challenger=new, weight=500, salt="s", rollout="r", paired=False, guardrails=limits
    )
    paired = first.model_copy(update={"weight": 2000, "paired": True})
    path, ports = f"/v1/models/{MODEL}/predict", [free_port() for _ in range(4)]
    peers = [sys.executable, str(HERE / "_peers.py")]
    servers: dict[str, Target] = {
        OURS: (enter(gateway(folder, "alone", alone)), path, ours),
        FIRST: (enter(gateway(folder, "first", first)), path, ours),
        PAIRED: (enter(gateway(folder, "paired", paired)), path, ours),
        OFF: (enter(gateway(folder, "off", alone, off=True)), path, ours),
        "hello-world by ASGI, same server": (
            enter(process([*peers, "hello", str(ports[0])], ports[0], "/")),
            "/",
            ours,
        ),
        "hello-world past ASGI, same server": (
            enter(process([*peers, "bare", str(ports[1])], ports[1], "/")),
            "/",
            ours,
        ),
    }
    fastapi = [*peers, "fastapi", str(ports[2]), str(folder / "one")]
    servers["FastAPI + ONNX Runtime"] = (enter(process(fastapi, ports[2], "/docs")), "/predict", ours)
    if not args.without_mlflow:
        servers["mlflow models serve"] = (enter(mlflow_server(folder, ports[3])), "/invocations", mlflows)
    return servers


def measure(args: argparse.Namespace, folder: Path) -> tuple[dict[str, list[Result]], Result]:
    """Rounds of load, each server in turn; then the open loop on the gateway alone."""
    with ExitStack() as stack:
        servers = start(args, folder, stack.enter_context)
        results: dict[str, list[Result]] = {name: [] for name in servers}
        for number in range(args.rounds + 1):
            for name, (server, path, body) in servers.items():
                result = one_load(server, path, body, args.seconds)
                assert not result.failed, f"{name}: {result.failed} of {result.requests} failed"
                if number:  # the first round warms up
                    results[name].append(result)
                    said = f"{result.rate:.0f}/s, p99 {result.p99:.1f} ms, {result.cpu_us:.0f} us of CPU a request"
                    print(f"round {number}: {name}: {said}", flush=True)
        server, path, body = servers[OURS]
        return results, open_loop(server.port, path, body, rate=500, seconds=args.open_seconds)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--open-seconds", type=float, default=60.0)
    parser.add_argument("--without-mlflow", action="store_true")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        results, steady = measure(args, Path(folder))
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir()
    rates = {name: median(r.rate for r in each) for name, each in results.items()}
    costs = {name: median(r.cpu_us for r in each) for name, each in results.items()}
    tails = {name: median(r.p95 for r in each) for name, each in results.items()}
    figure, unit = "single-row requests, 32 connections", "requests/s"
    peers = [name for name in rates if not name.startswith("gateway")]
    rows = [Row(figure, rates[OURS], unit, n, rates[n], "higher") for n in peers]
    rows += [Row(f"{n}: {figure}", rates[n], unit, OFF, rates[OFF], "higher") for n in (OURS, FIRST, PAIRED)]
    rows += [Row("CPU a request", costs[OURS], "us", n, costs[n], "lower") for n in costs if n != OURS]
    rows += [Row("p95 of the same", tails[OURS], "ms", n, tails[n], "lower") for n in peers]
    open_figure = f"open loop, 500 requests/s for {args.open_seconds:g} s"
    rows.append(Row(f"{open_figure}: p95", steady.p95, "ms", "the target", 10.0, "lower"))
    rows.append(Row(f"{open_figure}: p99", steady.p99, "ms", "the target", 25.0, "lower"))
    requests = sum(r.requests for each in results.values() for r in each)
    write("serving", rows, requests=requests, client=client(), open_loop_failed=steady.failed)


if __name__ == "__main__":
    main()
