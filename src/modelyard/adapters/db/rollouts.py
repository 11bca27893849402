"""Rollouts, routes, acknowledgements and looks in PostgreSQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, select, update
from sqlalchemy.dialects.postgresql import insert

from modelyard.adapters.db import tables as t
from modelyard.adapters.db._rows import body_of, text_of
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.records import AnalysisRun
from modelyard.ports.ledger import Json


class PostgresRollouts:
    """``ports.ledger.Rollouts``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, rollout: str, model: str, release: str, body: Json, at: datetime) -> None:
        row = {"id": rollout, "model": model, "release": release, "revision": 1, "body": body, "opened_at": at}
        with self._engine.begin() as db:
            db.execute(insert(t.rollouts).values(row).on_conflict_do_nothing())
            if db.scalar(select(t.rollouts.c.id).where(t.rollouts.c.id == rollout)) is None:
                other = db.scalar(
                    select(t.rollouts.c.id).where(t.rollouts.c.model == model, t.rollouts.c.closed_at.is_(None))
                )
                raise Conflict(f"rollout {other} of {model} is open; wait for it or `modelyard rollout abort {model}`")

    def get(self, rollout: str) -> tuple[Json, int]:
        with self._engine.connect() as db:
            row = db.execute(select(t.rollouts.c.body, t.rollouts.c.revision).where(t.rollouts.c.id == rollout)).first()
        if row is None:
            raise NotFound("rollout", rollout)
        return row[0], row[1]

    def save(self, rollout: str, body: Json, revision: int, *, closed_at: datetime | None = None) -> int:
        query = (
            update(t.rollouts)
            .where(t.rollouts.c.id == rollout, t.rollouts.c.revision == revision)
            .values(body=body, revision=revision + 1, closed_at=closed_at)
        )
        with self._engine.begin() as db:
            if db.execute(query).rowcount == 1:
                return revision + 1
        self.get(rollout)
        raise Conflict(f"rollout {rollout} was changed by another writer since revision {revision}; read it again")

    def current(self, model: str) -> str | None:
        query = select(t.rollouts.c.id).where(t.rollouts.c.model == model, t.rollouts.c.closed_at.is_(None))
        with self._engine.connect() as db:
            found: str | None = db.scalar(query)
        return found

    def history(self, model: str) -> list[Json]:
        query = select(t.rollouts.c.body).where(t.rollouts.c.model == model).order_by(t.rollouts.c.opened_at)
        with self._engine.connect() as db:
            return list(db.scalars(query))

    def route(self, model: str) -> tuple[int, Json] | None:
        with self._engine.connect() as db:
            row = db.execute(select(t.routes.c.generation, t.routes.c.body).where(t.routes.c.model == model)).first()
        return None if row is None else (row[0], row[1])

    def set_route(self, model: str, body: Json) -> int:
        first = insert(t.routes).values(model=model, generation=1, body=body)
        changed = first.on_conflict_do_update(
            index_elements=[t.routes.c.model],
            set_={"generation": t.routes.c.generation + 1, "body": first.excluded.body},
            where=t.routes.c.body != first.excluded.body,
        )
        with self._engine.begin() as db:
            db.execute(changed)
            generation: int = db.execute(select(t.routes.c.generation).where(t.routes.c.model == model)).scalar_one()
        return generation

    def ack(self, model: str, replica: str, generation: int, at: datetime) -> None:
        row = insert(t.acks).values(model=model, replica=replica, generation=generation, at=at)
        newer = row.on_conflict_do_update(
            index_elements=[t.acks.c.model, t.acks.c.replica],
            set_={"generation": row.excluded.generation, "at": row.excluded.at},
            where=t.acks.c.generation <= row.excluded.generation,
        )
        with self._engine.begin() as db:
            db.execute(newer)

    def acks(self, model: str) -> dict[str, int]:
        with self._engine.connect() as db:
            rows = db.execute(select(t.acks.c.replica, t.acks.c.generation).where(t.acks.c.model == model)).all()
        return {row.replica: row.generation for row in rows}

    def look(self, run: AnalysisRun) -> AnalysisRun:
        table = t.analysis_runs
        row = {"rollout": run.rollout, "stage": run.stage, "look": run.look, "body": body_of(run)}
        kept = select(table.c.body).where(
            table.c.rollout == run.rollout, table.c.stage == run.stage, table.c.look == run.look
        )
        with self._engine.begin() as db:
            db.execute(insert(table).values(row).on_conflict_do_nothing())
            return AnalysisRun.from_json(text_of(db.scalars(kept).one()))

    def looks(self, rollout: str) -> list[AnalysisRun]:
        query = select(t.analysis_runs.c.body).where(t.analysis_runs.c.rollout == rollout)
        ordered = query.order_by(t.analysis_runs.c.stage, t.analysis_runs.c.look)
        with self._engine.connect() as db:
            return [AnalysisRun.from_json(text_of(body)) for body in db.scalars(ordered)]
