"""The audit log on PostgreSQL with its files synced to disk: what an entry costs, and verifying a million of them.

The peers are the limits that the project sets itself and, for an entry, a bare insert of the same text.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, Popen, run

import numpy as np
import psycopg
from _report import Row, write
from sqlalchemy import Engine, text

from modelyard.adapters.audit_anchors import FileAnchors
from modelyard.adapters.db.engine import connect, migrate
from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.core.chain import START, Head, follow, walk
from modelyard.core.records import AuditEvent
from modelyard.runtime import launch, postgres, sockets
from modelyard.runtime.databases import create_database

VERIFY_LIMIT_S, APPEND_LIMIT_MS = 20.0, 10.0
NOW = datetime(2013, 4, 9, tzinfo=UTC)


def event(number: int) -> AuditEvent:
    """An entry of the size that a decision's has."""
    digest = "sha256:" + f"{number:064x}"
    return AuditEvent(
        at=NOW + timedelta(seconds=number),
        actor="governance",
        action="governance.approve",
        model="flight_delay",
        subject=digest,
        reason="low risk: nothing that makes a release risky was found in it",
        digests=(digest, digest),
        detail={"rollout": f"flight_delay-{number}", "version": number},
    )


@contextmanager
def database(folder: Path) -> Iterator[tuple[Engine, str]]:
    """An engine on a fresh database of a server of its own, and the address for psycopg."""
    cluster, password, port = folder / "cluster", "bench", sockets.free_port()
    postgres.init_cluster(cluster, password)
    python, where = Path(sys.executable), f"127.0.0.1:{port}"
    settings = (f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=")
    options = [part for setting in settings for part in ("-c", setting)]
    server = Popen(
        launch.resolve(("postgres", "-D", str(cluster), *options), python, cluster), stdout=DEVNULL, stderr=DEVNULL
    )
    ready = launch.resolve(("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)), python)
    try:
        while run(ready, check=False).returncode:
            if server.poll() is not None:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.1)
        with psycopg.connect(f"postgresql://postgres:{password}@{where}/postgres", autocommit=True) as admin:
            create_database(admin, "bench", password)
        engine = connect(f"postgresql+psycopg://bench:{password}@{where}/bench")
        migrate(engine)
        yield engine, f"postgresql://bench:{password}@{where}/bench"
        engine.dispose()
    finally:
        server.terminate()
        server.wait()


def fill(address: str, count: int) -> Head:
    """Chain and load this many entries, as ``audit`` would have written them."""
    head = START
    with psycopg.connect(address) as db, db.cursor() as cursor:
        with cursor.copy("COPY audit_log (seq, previous, digest, body) FROM STDIN") as copy:
            for number in range(count):
                entry = follow(head, event(number).to_json())
                copy.write_row((entry.seq, entry.previous, entry.digest, entry.text))
                head = Head(entry.seq, entry.digest)
                if number % 100_000 == 0:
                    print(f"filling: {number:,} of {count:,}", file=sys.stderr, flush=True)
        cursor.execute("UPDATE audit_head SET seq = %s, digest = %s", (head.seq, head.digest))
    return head


def p99_ms(act: Callable[[int], object], count: int) -> float:
    """The 99th percentile of this many calls, in milliseconds."""
    took = []
    for number in range(count):
        start = time.perf_counter()
        act(number)
        took.append(1e3 * (time.perf_counter() - start))
    return float(np.percentile(took, 99))


def bare(engine: Engine) -> Callable[[int], None]:
    """An insert of the same text without chain and anchor."""
    with engine.begin() as db:
        db.execute(text("CREATE TABLE bare (seq bigserial PRIMARY KEY, body json NOT NULL)"))

    def insert(number: int) -> None:
        with engine.begin() as db:
            db.execute(text("INSERT INTO bare (body) VALUES (CAST(:body AS json))"), {"body": event(number).to_json()})

    return insert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries to verify")
    parser.add_argument("--appends", type=int, default=2_000, help="entries to time one by one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, database(Path(name)) as (engine, address):
        head = fill(address, given.entries)
        journal = PostgresLedger(engine, FileAnchors(Path(name) / "anchors")).journal
        start = time.perf_counter()
        found = walk(journal.audit_chain(), journal.audit_head(), journal.audit_anchors())
        verify_s = time.perf_counter() - start
        if not found.whole or found.head != head:
            raise SystemExit(f"the chain is not whole: {found}")
        plain = bare(engine)
        append_ms, bare_ms = p99_ms(lambda n: journal.audit(event(n)), given.appends), p99_ms(plain, given.appends)
    rows = [
        Row(f"verify {given.entries:,} entries", verify_s, "s", "limit", VERIFY_LIMIT_S, "lower", 1.0),
        Row("append, p99", append_ms, "ms", "limit", APPEND_LIMIT_MS, "lower", 1.0),
        Row("append, p99", append_ms, "ms", "bare insert", bare_ms, "lower"),
    ]
    write("audit", rows, entries=given.entries, appends=given.appends)


if __name__ == "__main__":
    main()
