"""Decisions, approvals, attestations, incidents, drift checks and ticks in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from modelyard.adapters.db import tables as t
from modelyard.adapters.db._rows import body_of, text_of
from modelyard.adapters.db.audit import PostgresAudit
from modelyard.core.clock import Tick
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.records import Approval, Attestation, Incident
from modelyard.core.verdict import Decision
from modelyard.ports.ledger import Json


class PostgresJournal(PostgresAudit):
    """``ports.ledger.Journal``."""

    def decide(self, decision: Decision) -> None:
        row = {
            "digest": decision.digest,
            "kind": decision.kind,
            "model": decision.model,
            "subject": decision.subject,
            "action": decision.action,
            "as_of": decision.as_of,
            "body": body_of(decision),
        }
        new = insert(t.decisions).values(row)
        with self._engine.begin() as db:
            # What is decided again is the newest decision again.
            db.execute(new.on_conflict_do_update(index_elements=[t.decisions.c.digest], set_={"seq": new.excluded.seq}))

    def decision(self, digest: str) -> Decision:
        with self._engine.connect() as db:
            body = db.scalar(select(t.decisions.c.body).where(t.decisions.c.digest == digest))
        if body is None:
            raise NotFound("decision", digest)
        return Decision.from_json(text_of(body))

    def decisions(self, model: str, kind: str | None = None, subject: str | None = None) -> list[Decision]:
        query = select(t.decisions.c.body).where(t.decisions.c.model == model).order_by(t.decisions.c.seq)
        if kind is not None:
            query = query.where(t.decisions.c.kind == kind)
        if subject is not None:
            query = query.where(t.decisions.c.subject == subject)
        with self._engine.connect() as db:
            return [Decision.from_json(text_of(body)) for body in db.scalars(query)]

    def approve(self, approval: Approval) -> None:
        row = {
            "release": approval.release,
            "decision": approval.decision,
            "by": approval.by,
            "answer": approval.answer,
            "body": body_of(approval),
        }
        key = [t.approvals.c[name] == row[name] for name in ("release", "decision", "by")]
        with self._engine.begin() as db:
            db.execute(insert(t.approvals).values(row).on_conflict_do_nothing())
            kept = db.execute(select(t.approvals.c.answer).where(*key)).scalar_one()
        if kept != approval.answer:
            raise Conflict(f"{approval.by} has already answered {kept!r} to this evidence; new evidence asks anew")

    def approvals(self, release: str) -> list[Approval]:
        query = select(t.approvals.c.body).where(t.approvals.c.release == release).order_by(t.approvals.c.seq)
        with self._engine.connect() as db:
            return [Approval.from_json(text_of(body)) for body in db.scalars(query)]

    def attest(self, attestation: Attestation) -> None:
        row = {
            "digest": attestation.digest,
            "release": attestation.release,
            "kind": attestation.kind,
            "cites": attestation.cites,
            "body": body_of(attestation),
        }
        with self._engine.begin() as db:
            db.execute(insert(t.attestations).values(row).on_conflict_do_nothing())

    def attestations(self, release: str) -> list[Attestation]:
        query = select(t.attestations.c.body).where(t.attestations.c.release == release).order_by(t.attestations.c.seq)
        with self._engine.connect() as db:
            return [Attestation.from_json(text_of(body)) for body in db.scalars(query)]

    def raise_incident(self, incident: Incident) -> int:
        row = {
            "key": incident.key,
            "model": incident.model,
            "state": "open",
            "body": body_of(incident),
            "opened_at": incident.opened_at,
        }
        still_open = (t.incidents.c.key == incident.key) & t.incidents.c.resolved_at.is_(None)
        with self._engine.begin() as db:
            db.execute(insert(t.incidents).values(row).on_conflict_do_nothing())
            number: int = db.execute(select(t.incidents.c.id).where(still_open)).scalar_one()
        return number

    def resolve_incident(self, key: str, at: datetime, why: str) -> None:
        still_open = (t.incidents.c.key == key) & t.incidents.c.resolved_at.is_(None)
        values = {"state": "resolved", "resolution": why, "resolved_at": at}
        with self._engine.begin() as db:
            db.execute(update(t.incidents).where(still_open).values(values))

    def incidents(self, model: str | None = None, *, open_only: bool = False) -> list[tuple[int, str, Incident]]:
        query = select(t.incidents.c.id, t.incidents.c.state, t.incidents.c.body).order_by(t.incidents.c.id)
        if model is not None:
            query = query.where(t.incidents.c.model == model)
        if open_only:
            query = query.where(t.incidents.c.resolved_at.is_(None))
        with self._engine.connect() as db:
            rows = db.execute(query).all()
        return [(number, state, Incident.from_json(text_of(body))) for number, state, body in rows]

    def check(self, model: str, as_of: datetime, body: Json) -> None:
        row = insert(t.drift_checks).values(model=model, as_of=as_of, body=body)
        key = [t.drift_checks.c.model, t.drift_checks.c.as_of]
        with self._engine.begin() as db:
            db.execute(row.on_conflict_do_update(index_elements=key, set_={"body": row.excluded.body}))

    def checks(
        self, model: str, since: datetime | None = None, until: datetime | None = None, *, brief: bool = False
    ) -> list[Json]:
        body = t.drift_checks.c.body
        query = (
            select(body.op("-", return_type=body.type)("signals") if brief else body)
            .where(t.drift_checks.c.model == model)
            .order_by(t.drift_checks.c.as_of)
        )
        if since is not None:
            query = query.where(t.drift_checks.c.as_of >= since)
        if until is not None:
            query = query.where(t.drift_checks.c.as_of <= until)
        with self._engine.connect() as db:
            return list(db.scalars(query))

    def tick(self, model: str, wall: datetime, event: datetime) -> None:
        with self._engine.begin() as db:
            db.execute(insert(t.ticks).values(model=model, wall=wall, event=event))

    def ticks(self, model: str) -> Sequence[Tick]:
        query = select(t.ticks.c.wall, t.ticks.c.event).where(t.ticks.c.model == model).order_by(t.ticks.c.wall)
        with self._engine.connect() as db:
            return [(wall, event) for wall, event in db.execute(query.order_by(t.ticks.c.seq)).all()]
