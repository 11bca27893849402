"""The audit log in PostgreSQL: append-only and hash-chained (``core.chain``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import JSON, DateTime, Engine, Text, cast, insert, select, update

from modelyard.adapters.db import tables as t
from modelyard.core.chain import Entry, Head, follow
from modelyard.core.errors import Conflict
from modelyard.core.records import AuditEvent
from modelyard.ports.ledger import Anchors

_log = logging.getLogger(__name__)
_BATCH = 20_000


class PostgresAudit:
    """The part of ``ports.ledger.Journal`` that is the audit log.

    Writers take turns on the row of the head, so the chain has no gap and no fork; an entry and its head are one
    transaction, so a writer that is killed leaves the chain as it was. The anchor is noted after that: a writer killed
    in between leaves the last entry without one, which ``audit verify`` says.
    """

    def __init__(self, engine: Engine, anchors: Anchors | None = None) -> None:
        self._engine, self._anchors = engine, anchors

    def audit(self, event: AuditEvent) -> int:
        head = t.audit_head.c
        with self._engine.begin() as db:
            row = db.execute(select(head.seq, head.digest).with_for_update()).one_or_none()
            if row is None:
                raise Conflict("the audit log has lost its head and takes no entry; `modelyard audit verify` says more")
            entry = follow(Head(seq=row.seq, digest=row.digest), event.to_json())
            stored = cast(entry.text, Text).cast(JSON)
            db.execute(
                insert(t.audit_log).values(
                    seq=entry.seq, previous=entry.previous, digest=entry.digest, body=stored
                )
            )  # fmt: skip
            db.execute(update(t.audit_head).values(seq=entry.seq, digest=entry.digest))
        self._anchor(Head(seq=entry.seq, digest=entry.digest))
        return entry.seq

    def audit_log(
        self,
        model: str | None = None,
        limit: int = 1000,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[tuple[int, AuditEvent]]:
        log = t.audit_log.c
        query = select(log.seq, cast(log.body, Text)).order_by(log.seq.desc()).limit(limit)
        for column, value in ((log.model, model), (log.actor, actor), (log.action, action), (log.subject, subject)):
            if value is not None:
                query = query.where(column == value)
        at = log.body["at"].as_string().cast(DateTime(timezone=True))
        if since is not None:
            query = query.where(at >= since)
        if until is not None:
            query = query.where(at < until)
        with self._engine.connect() as db:
            rows = db.execute(query).all()
        return [(seq, AuditEvent.from_json(text)) for seq, text in reversed(rows)]

    def audit_chain(self) -> Iterator[Entry]:
        log = t.audit_log.c
        query = select(log.seq, log.previous, log.digest, cast(log.body, Text)).order_by(log.seq)
        with self._engine.connect() as db:
            rows = db.execution_options(stream_results=True, yield_per=_BATCH).execute(query)
            for batch in rows.partitions():
                yield from map(Entry._make, batch)

    def audit_head(self) -> Head:
        with self._engine.connect() as db:
            row = db.execute(select(t.audit_head.c.seq, t.audit_head.c.digest)).one_or_none()
        if row is None:
            raise Conflict("the audit log has lost its head: the row of audit_head was deleted")
        return Head(seq=row.seq, digest=row.digest)

    def audit_anchors(self) -> dict[int, str]:
        return {} if self._anchors is None else self._anchors.read()

    def _anchor(self, head: Head) -> None:
        if self._anchors is None:
            return
        try:
            self._anchors.note(head)
        except OSError:  # the entry is kept, and a repeated act would enter it twice; verify tells what has no anchor
            _log.exception("entry %d of the audit log could not be anchored", head.seq)
