"""Snapshots and releases in PostgreSQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects.postgresql import insert

from modelyard.adapters.db import tables as t
from modelyard.adapters.db._rows import body_of, text_of
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.records import Release, Snapshot
from modelyard.ports.ledger import ReleaseState, SnapshotState


class PostgresSnapshots:
    """``ports.ledger.Snapshots``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, snapshot: Snapshot) -> None:
        row = {
            "content": snapshot.content,
            "model": snapshot.model,
            "state": "new",
            "reason": "",
            "body": body_of(snapshot),
        }
        with self._engine.begin() as db:
            db.execute(insert(t.snapshots).values(row).on_conflict_do_nothing())

    def get(self, content: str) -> Snapshot:
        with self._engine.connect() as db:
            body = db.scalar(select(t.snapshots.c.body).where(t.snapshots.c.content == content))
        if body is None:
            raise NotFound("snapshot", content)
        return Snapshot.from_json(text_of(body))

    def state(self, content: str) -> SnapshotState:
        with self._engine.connect() as db:
            return _state(db, content)

    def mark(self, content: str, state: SnapshotState, reason: str) -> None:
        with self._engine.begin() as db:
            if _state(db, content, lock=True) == "quarantined" and state != "quarantined":
                raise Conflict(f"snapshot {content} is quarantined and stays so; take a new snapshot of mended data")
            db.execute(update(t.snapshots).where(t.snapshots.c.content == content).values(state=state, reason=reason))

    def readmit(self, content: str, reason: str) -> None:
        table = t.snapshots
        held = (table.c.content == content) & (table.c.state == "quarantined")
        with self._engine.begin() as db:
            db.execute(update(table).where(held).values(state="valid", reason=reason))

    def of(self, model: str) -> list[Snapshot]:
        query = select(t.snapshots.c.body).where(t.snapshots.c.model == model).order_by(t.snapshots.c.recorded_at)
        with self._engine.connect() as db:
            return [Snapshot.from_json(text_of(body)) for body in db.scalars(query)]


def _state(db: Connection, content: str, *, lock: bool = False) -> SnapshotState:
    query = select(t.snapshots.c.state).where(t.snapshots.c.content == content)
    state: SnapshotState | None = db.scalar(query.with_for_update() if lock else query)
    if state is None:
        raise NotFound("snapshot", content)
    return state


class PostgresReleases:
    """``ports.ledger.Releases``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, release: Release, bundle: str) -> None:
        row = {
            "digest": release.digest,
            "model": release.model,
            "version": release.version,
            "mlflow_run_id": release.mlflow_run_id,
            "state": "candidate",
            "reason": "",
            "bundle": bundle,
            "body": body_of(release),
        }
        with self._engine.begin() as db:
            db.execute(insert(t.releases).values(row).on_conflict_do_nothing())
            if db.scalar(select(t.releases.c.digest).where(t.releases.c.digest == release.digest)) is None:
                raise Conflict(
                    f"{release.model} version {release.version} or run {release.mlflow_run_id} already is another "
                    "release's; a version is never reused"
                )

    def get(self, digest: str) -> Release:
        return self._one(t.releases.c.digest == digest, digest)

    def bundle(self, digest: str) -> str:
        with self._engine.connect() as db:
            uri: str | None = db.scalar(select(t.releases.c.bundle).where(t.releases.c.digest == digest))
        if uri is None:
            raise NotFound("release", digest)
        return uri

    def of_run(self, mlflow_run_id: str) -> Release | None:
        try:
            return self._one(t.releases.c.mlflow_run_id == mlflow_run_id, mlflow_run_id)
        except NotFound:
            return None

    def by_version(self, model: str, version: int) -> Release:
        return self._one((t.releases.c.model == model) & (t.releases.c.version == version), f"{model} v{version}")

    def recorded(self, *, prefix: str = "sha256:", model: str | None = None, version: int | None = None) -> list[str]:
        table = t.releases
        query = select(table.c.digest).where(table.c.digest.startswith(prefix, autoescape=True))
        if model is not None:
            query = query.where(table.c.model == model)
        if version is not None:
            query = query.where(table.c.version == version)
        with self._engine.connect() as db:
            return list(db.scalars(query.order_by(table.c.digest)))

    def history(self, model: str) -> list[tuple[Release, ReleaseState]]:
        query = select(t.releases.c.body, t.releases.c.state).where(t.releases.c.model == model)
        with self._engine.connect() as db:
            rows = db.execute(query.order_by(t.releases.c.version)).all()
        return [(Release.from_json(text_of(body)), state) for body, state in rows]

    def state(self, digest: str) -> ReleaseState:
        with self._engine.connect() as db:
            return _release_state(db, digest)

    def mark(self, digest: str, state: ReleaseState, reason: str) -> None:
        with self._engine.begin() as db:
            if _release_state(db, digest, lock=True) == "quarantined" and state != "quarantined":
                raise Conflict(f"release {digest} is quarantined and is never taken up again; train a new one")
            db.execute(update(t.releases).where(t.releases.c.digest == digest).values(state=state, reason=reason))

    def champion(self, model: str) -> Release | None:
        query = select(t.releases.c.body).join(t.champions, t.champions.c.release == t.releases.c.digest)
        query = query.where(t.champions.c.model == model).order_by(t.champions.c.seq.desc()).limit(1)
        with self._engine.connect() as db:
            body = db.scalar(query)
        return None if body is None else Release.from_json(text_of(body))

    def previous(self, model: str) -> Release | None:
        crowned = t.champions.alias()
        present = select(t.champions.c.release).where(t.champions.c.model == model)
        present = present.order_by(t.champions.c.seq.desc()).limit(1)
        # Before it was champion for the first time: a revert goes back in this line, and does not lengthen it.
        first = select(func.min(crowned.c.seq)).where(
            crowned.c.model == model, crowned.c.release == present.scalar_subquery()
        )
        query = (
            select(t.releases.c.body)
            .join(t.champions, t.champions.c.release == t.releases.c.digest)
            .where(t.champions.c.model == model, t.champions.c.seq < first.scalar_subquery())
            .where(t.releases.c.state != "quarantined")
            .order_by(t.champions.c.seq.desc())
            .limit(1)
        )
        with self._engine.connect() as db:
            body = db.scalar(query)
        return None if body is None else Release.from_json(text_of(body))

    def crown(self, model: str, digest: str, rollout: str, at: datetime) -> None:
        with self._engine.begin() as db:
            if _release_state(db, digest, lock=True) == "quarantined":
                raise Conflict(f"release {digest} is quarantined and cannot become champion")
            newest = select(t.champions.c.release, t.champions.c.rollout).where(t.champions.c.model == model)
            row = db.execute(newest.order_by(t.champions.c.seq.desc()).limit(1)).first()
            if row is not None and tuple(row) == (digest, rollout):
                return
            values = {"model": model, "release": digest, "rollout": rollout, "since": at}
            db.execute(insert(t.champions).values(values))

    def _one(self, condition: object, name: str) -> Release:
        with self._engine.connect() as db:
            body = db.scalar(select(t.releases.c.body).where(condition))  # type: ignore[arg-type]
        if body is None:
            raise NotFound("release", name)
        return Release.from_json(text_of(body))


def _release_state(db: Connection, digest: str, *, lock: bool = False) -> ReleaseState:
    query = select(t.releases.c.state).where(t.releases.c.digest == digest)
    state: ReleaseState | None = db.scalar(query.with_for_update() if lock else query)
    if state is None:
        raise NotFound("release", digest)
    return state
