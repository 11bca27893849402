"""What reading features by key adds: the same model and rows, asked with all features and with entity keys alone.

21 of the model's 27 numbers come from seven feature views, each with an entity of its own, as the flight model's do;
the online store is PostgreSQL with Feast's tables in Feast's forms (``features.online``; a test against Feast's SDK on
a real database pins both).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from _bundles import MODEL, NUMBERS, PATH, bundle, ours, row, signature
from _fixtures import running_server
from _load import Result, load, open_loop
from _report import Row
from _scale import Found, Scale
from _servers import Server, gateway

from modelyard.features.online import encode, entity_key, table_name
from modelyard.ports.fleet import Route
from modelyard.release.signature import Signature

VIEWS, EACH, ENTITIES = 7, 3, 200
READ = {f"n{NUMBERS - 1 - n}": f"view{n // EACH}" for n in range(VIEWS * EACH)}
RATE, LIMIT_MS = 100.0, 2.0
MODEL_YAML = f"""
name: {MODEL}
description: the benchmarks' model
owner: nobody
source: {{file: f.csv, event_time: at, known_at: known, key: key}}
label: {{column: late, depends_on_answer: false}}
entities: {{{", ".join(f"join{n}: entity{n}" for n in range(VIEWS))}}}
feature_builder: "features:build"
feature_views: {{{", ".join(f"view{n}: {{entity: join{n}, ttl_hours: 24}}" for n in range(VIEWS))}}}
features: {{{", ".join(f"{name}: {{kind: numeric, from: {view}}}" for name, view in READ.items())}}}
"""


def by_key(n: int) -> bytes:
    """The n-th request, with entity keys in the place of what the views hold."""
    given = {name: value for name, value in row(n).items() if name not in READ}
    return json.dumps({"rows": [given | {f"entity{view}": _entity(n, view) for view in range(VIEWS)}]}).encode()


def features(scale: Scale, folder: Path) -> Found:
    """p95 with and without, in turn: at 100 requests a second, and over 32 connections as fast as it goes."""
    asked = {"all features given": ours, "features by key": by_key}
    calm: dict[str, list[Result]] = {name: [] for name in asked}
    busy: dict[str, list[Result]] = {name: [] for name in asked}
    with _started(folder) as server:
        _none_is_missing(server)
        for number in range(scale.rounds + 1):
            for name, body in asked.items():
                steady = open_loop(server.port, PATH, body, rate=RATE, seconds=scale.seconds)
                quick = _closed(server, body, scale.seconds)
                assert not steady.failed + quick.failed, f"{name}: {steady} {quick}"
                if number:  # the first round warms up
                    calm[name].append(steady)
                    busy[name].append(quick)
                    print(f"round {number}: {name}: p95 {steady.p95:.2f} ms; {quick.rate:.0f}/s, {quick.cpu_us:.0f} us")
    raw, keyed = asked
    p95 = {name: median(r.p95 for r in each) for name, each in calm.items()}
    full = {name: median(r.p95 for r in each) for name, each in busy.items()}
    figure, added = f"features by key, {RATE:g} requests/s", p95[keyed] - p95[raw]
    rows = [
        Row(f"{figure}: p95 added", added, "ms", "the limit", LIMIT_MS, "lower", 1),
        Row(f"{figure}: p95", p95[keyed], "ms", raw, p95[raw], "lower"),
        Row("the same, 32 connections: p95", full[keyed], "ms", raw, full[raw], "lower"),
    ]
    for what, unit, better in (("rate", "requests/s", "higher"), ("cpu_us", "us of CPU a request", "lower")):
        values = {name: median(getattr(r, what) for r in each) for name, each in busy.items()}
        rows.append(Row("the same, 32 connections", values[keyed], unit, raw, values[raw], better))
    return Found(rows, {"views": VIEWS, "features_read": len(READ)})


def _closed(server: Server, body: Callable[[int], bytes], seconds: float) -> Result:
    before = server.cpu_s()
    result = load(server.port, PATH, body, connections=32, seconds=seconds)
    return replace(result, cpu_us=1e6 * (server.cpu_s() - before) / result.requests)


def _entity(n: int, view: int) -> str:
    return f"E{(n * (2 * view + 1)) % ENTITIES}"


@contextmanager
def _started(folder: Path) -> Iterator[Server]:
    """A gateway whose model reads seven views, and the store that it reads them from."""
    project, wanted = folder / "root" / "projects" / MODEL, _signature()
    project.mkdir(parents=True)
    (folder / "root" / "params.yaml").write_text(f"{MODEL}: {{}}\n")
    (project / "model.yaml").write_text(MODEL_YAML)
    arm = bundle(folder / "one", 1, wanted=wanted)
    (folder / "postgres").mkdir()
    with running_server(folder / "postgres") as store:
        _fill(store.admin)
        env = {
            "MODELYARD_ROOT": str(folder / "root"), "FEAST_POSTGRES_HOST": "127.0.0.1",
            "FEAST_POSTGRES_PORT": str(store.port), "FEAST_POSTGRES_DATABASE": "postgres",
            "FEAST_POSTGRES_USER": "postgres", "FEAST_POSTGRES_PASSWORD": store.password,
            "FEAST_POSTGRES_SSLMODE": "disable",
        }  # fmt: skip
        with gateway(folder, "gateway", Route(model=MODEL, champion=arm), env=env) as server:
            yield server


def _signature() -> Signature:
    plain = signature()
    inputs = tuple(each.model_copy(update={"source": READ.get(each.name, "request")}) for each in plain.inputs)
    entities = {f"view{n}": {f"join{n}": f"entity{n}"} for n in range(VIEWS)}
    return plain.model_copy(update={"inputs": inputs, "entities": entities})


def _fill(address: str) -> None:
    """Feast's tables, with a value for every entity."""
    now, number = datetime.now(UTC), [0.0]

    def rows(view: int) -> Iterator[tuple[Any, ...]]:
        names = [name for name, source in READ.items() if source == f"view{view}"]
        for entity in range(ENTITIES):
            for name in names:
                number[0] += 0.001
                yield entity_key(f"join{view}", f"E{entity}"), name, encode(number[0]), now, now

    with psycopg.connect(address, autocommit=True) as connection:
        for view in range(VIEWS):
            table = table_name(MODEL, f"view{view}")
            connection.execute(
                f'CREATE TABLE "{table}" (entity_key BYTEA, feature_name TEXT, value BYTEA, vector_value BYTEA NULL, '
                "event_ts TIMESTAMPTZ, created_ts TIMESTAMPTZ, PRIMARY KEY (entity_key, feature_name))".encode()
            )
            statement = f'INSERT INTO "{table}" (entity_key, feature_name, value, event_ts, created_ts) '
            with connection.cursor() as cursor:
                cursor.executemany(f"{statement} VALUES (%s, %s, %s, %s, %s)".encode(), list(rows(view)))
            connection.execute(f'ANALYZE "{table}"'.encode())


def _none_is_missing(server: Server) -> None:
    """Features are read, and no null is served in the place of one."""
    import httpx

    url = f"http://127.0.0.1:{server.port}"
    for n in range(3):
        said = httpx.post(url + PATH, content=by_key(n)).raise_for_status().json()
        assert said["predictions"][0]["key"] == f"k{n}"
    counts = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("online_features_")]
    assert any("missing" in line for line in counts), counts
    assert all(float(line.split()[-1]) == 0 for line in counts if line.startswith("online_features_total")), counts
