"""The gateway beside its peers, and what a rollout costs its users.

    make bench-serving                        # all parts, some 12 minutes
    make bench-serving ARGS="changes faults"  # these parts
    make bench-serving ARGS="--missing"       # what has not been taken at this commit
    make bench-serving ARGS="--quick"         # every code path in short; its figures mean nothing

Each part is written to benchmarks/results/serving.json when it is done, and the others stay there as they were.

The gateway runs with everything on: validation, split, metrics, prediction log, and with a challenger guardrails and
(where said) pairing. Servers take turns in interleaved rounds. Only ratios mean anything: the load generator shares the
machine's cores; the processor time per request is less moved by who else is on them.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from _bundles import MODEL, PATH, bundle, graph, large_graph, mlflows, ours
from _changes import changes
from _faults import faults
from _features import features
from _half_failing import half_failing
from _load import Result, client, load, open_loop
from _peer_env import bentoml, bentomls, mlserver, mlservers
from _report import RESULTS, Facts, Row, commit, parts, table, write_part
from _rollbacks import rollbacks
from _scale import FULL, QUICK, Found, Scale
from _servers import HERE, Server, Target, free_port, gateway, mlflow_server, process

from modelyard.ports.fleet import Route

OURS, FIRST, PAIRED = "gateway", "gateway, canary 5%", "gateway, canary 20%, paired"
OFF = "gateway, log and metrics off"
HELLO, BARE = "hello-world by ASGI, same server", "hello-world past ASGI, same server"
FASTAPI, MLFLOW, BENTOML, MLSERVER = "FastAPI + ONNX Runtime", "mlflow models serve", "BentoML", "MLServer"
TARGETS = {HELLO: 0.70, FASTAPI: 3.0, MLFLOW: 20.0, BENTOML: 25.0, MLSERVER: 10.0}
LARGE_TARGET = 8.0
FIGURE = "single-row requests, 32 connections"
Results = dict[str, list[Result]]


def one_load(server: Server, path: str, body: Callable[[int], bytes], seconds: float) -> Result:
    """A load, with what it cost the server."""
    before = server.cpu_s()
    result = load(server.port, path, body, connections=32, seconds=seconds)
    return replace(result, cpu_us=1e6 * (server.cpu_s() - before) / result.requests)


@contextmanager
def ours_and_off(folder: Path) -> Iterator[dict[str, Target]]:
    """The gateway in all its states, and without what it does besides answering."""
    old, new = bundle(folder / "one", 1), bundle(folder / "two", 2)
    alone = Route(model=MODEL, champion=old)
    limits = {"disagreement_above": 0.99, "latency_budget": 0.9}
    first = Route(
        model=MODEL, champion=old, challenger=new, weight=500, salt="s", rollout="r", paired=False, guardrails=limits
    )
    paired = first.model_copy(update={"weight": 2000, "paired": True})
    with ExitStack() as stack:
        enter: Callable[[AbstractContextManager[Server]], Server] = stack.enter_context
        yield {
            OURS: (enter(gateway(folder, "alone", alone)), PATH, ours),
            FIRST: (enter(gateway(folder, "first", first)), PATH, ours),
            PAIRED: (enter(gateway(folder, "paired", paired)), PATH, ours),
            OFF: (enter(gateway(folder, "off", alone, off=True)), PATH, ours),
        }


def simple(folder: Path) -> Iterator[tuple[str, AbstractContextManager[Server], str]]:
    """What is served from this environment, on the gateway's own HTTP server."""
    for name, kind, ready in ((HELLO, "hello", "/"), (BARE, "bare", "/"), (FASTAPI, "fastapi", "/docs")):
        port = free_port()
        command = [sys.executable, str(HERE / "_peers.py"), kind, str(port), str(folder / "one")]
        yield name, process(command, port, ready, log=folder / f"{kind}.log"), "/predict" if kind == "fastapi" else "/"


def measure(scale: Scale, servers: dict[str, Target]) -> Results:
    """Rounds of load, each server in turn; the first round warms up."""
    results: Results = {name: [] for name in servers}
    for number in range(scale.rounds + 1):
        for name, (server, path, body) in servers.items():
            result = one_load(server, path, body, scale.seconds)
            assert not result.failed, f"{name}: {result.failed} of {result.requests} failed"
            if number:
                results[name].append(result)
                said = f"{result.rate:.0f}/s, p99 {result.p99:.1f} ms, {result.cpu_us:.0f} us of CPU a request"
                print(f"round {number}: {name}: {said}", flush=True)
    return results


def throughput(scale: Scale, folder: Path) -> Found:
    """Single-row requests over 32 connections, beside every peer."""
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        servers = stack.enter_context(ours_and_off(folder))
        for name, started, path in simple(folder):
            servers[name] = (stack.enter_context(started), path, ours)
        if scale.peers:
            given = graph(1)
            servers[MLFLOW] = (stack.enter_context(mlflow_server(folder, given)), "/invocations", mlflows)
            for name, serve, path, body in (
                (BENTOML, bentoml, "/predict", bentomls),
                (MLSERVER, mlserver, "/v2/models/bench/infer", mlservers),
            ):
                try:
                    servers[name] = (stack.enter_context(serve(folder, given)), path, body)
                except RuntimeError as error:
                    absent[name] = str(error)
                    print(f"{name} is left out: {error}", flush=True)
        results = measure(scale, servers)
    requests = sum(r.requests for each in results.values() for r in each)
    return Found(_rows(results), {"requests": requests, "client": client(), "absent": absent})


def _rows(results: Results) -> list[Row]:
    rates = {name: median(r.rate for r in each) for name, each in results.items()}
    costs = {name: median(r.cpu_us for r in each) for name, each in results.items()}
    tails = {name: median(r.p95 for r in each) for name, each in results.items()}
    peers = [name for name in rates if not name.startswith("gateway")]
    rows = [Row(FIGURE, rates[OURS], "requests/s", n, rates[n], "higher", TARGETS.get(n)) for n in peers]
    rows += [
        Row(f"{n}: {FIGURE}", rates[n], "requests/s", OFF, rates[OFF], "higher", target)
        for n, target in ((OURS, 0.85), (FIRST, 0.85), (PAIRED, None))
    ]
    rows += [Row("CPU a request", costs[OURS], "us", n, costs[n], "lower") for n in costs if n != OURS]
    return rows + [Row("p95 of the same", tails[OURS], "ms", n, tails[n], "lower") for n in peers]


def large_model(scale: Scale, folder: Path) -> Found:
    """A model of two million parameters, exported as the platform exports; beside MLflow's server on the same graph."""
    given, parameters = large_graph()
    route = Route(model=MODEL, champion=bundle(folder / "large", 1, given))
    with ExitStack() as stack:
        servers: dict[str, Target] = {OURS: (stack.enter_context(gateway(folder, "gateway", route)), PATH, ours)}
        if scale.peers:
            servers[MLFLOW] = (stack.enter_context(mlflow_server(folder, given)), "/invocations", mlflows)
        results = measure(scale, servers)
    rates = {name: median(r.rate for r in each) for name, each in results.items()}
    costs = {name: median(r.cpu_us for r in each) for name, each in results.items()}
    figure, others = f"{parameters / 1e6:.1f}M parameters: {FIGURE}", [name for name in rates if name != OURS]
    rows = [Row(figure, rates[OURS], "requests/s", n, rates[n], "higher", LARGE_TARGET) for n in others]
    rows += [Row("the same: CPU a request", costs[OURS], "us", n, costs[n], "lower") for n in others]
    return Found(rows, {"parameters": parameters, "rate": rates[OURS], "client": client()})


def open_rate(scale: Scale, folder: Path) -> Found:
    """So many requests a second, whatever comes back."""
    route = Route(model=MODEL, champion=bundle(folder / "one", 1))
    with gateway(folder, "gateway", route) as server:
        one_load(server, PATH, ours, 1)
        steady = open_loop(server.port, PATH, ours, rate=500, seconds=scale.open_seconds)
    figure = f"open loop, 500 requests/s for {scale.open_seconds:g} s"
    limits = (
        ("p95", steady.p95, "ms", 10.0),
        ("p99", steady.p99, "ms", 25.0),
        ("failed", steady.failed, "requests", 0),
    )
    rows = [
        Row(f"{figure}: {name}", value, unit, "the limit", limit, "lower", 1) for name, value, unit, limit in limits
    ]
    return Found(rows, {"requests": steady.requests})


PARTS: dict[str, Callable[[Scale, Path], Found]] = {
    "throughput": throughput,
    "large_model": large_model,
    "open_loop": open_rate,
    "features": features,
    "changes": changes,
    "faults": faults,
    "rollbacks": rollbacks,
    "half_failing": half_failing,
}


def main(argv: list[str] | None = None) -> int:
    """Take the parts that are asked for, one after the other; 1 if one of them could not be taken."""
    args = _arguments(argv)
    scale = replace(QUICK if args.quick else FULL, peers=not args.without_peers)
    path: Path = args.out or RESULTS / ("serving-quick.json" if args.quick else "serving.json")
    taken = {name: part["commit"] for name, part in parts(path).items()}
    wanted = [name for name in PARTS if name in args.parts or not args.parts]
    if args.missing:
        wanted = [name for name in wanted if taken.get(name) != commit() or commit().endswith("-dirty")]
    failed = [name for name in wanted if not _take(name, scale, path)]
    if len(wanted) > 1:
        table(path, wanted)
    if failed:
        print(f"\nnot taken: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--missing", action="store_true", help="leave out what was taken at this commit")
    parser.add_argument("--quick", action="store_true", help="tiny rounds, written to serving-quick.json")
    parser.add_argument("--without-peers", action="store_true", help="without MLflow, BentoML and MLServer")
    parser.add_argument("--out", type=Path, help="the result file")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.parts) - set(PARTS)):
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    return args


def _take(name: str, scale: Scale, path: Path) -> bool:
    """One part, in a folder of its own; one that fails says why and leaves the others be."""
    print(f"\n== {name}", flush=True)
    facts = Facts()
    try:
        with TemporaryDirectory() as folder:
            found = PARTS[name](scale, Path(folder))
    except Exception:  # noqa: BLE001  whatever it is, the other parts are taken
        traceback.print_exc()
        return False
    write_part(path, name, found.rows, facts, **found.more)
    return True


if __name__ == "__main__":
    sys.exit(main())
