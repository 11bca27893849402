"""A small platform for the deciding flows: the real ledger, real bundles on disk, a prediction log held in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from fixtures.gate_evidence import sound
from fixtures.keys import KEY, TRUST

from modelyard.adapters.db.ledger import PostgresLedger
from modelyard.config.policies import load_policy
from modelyard.config.settings import Settings
from modelyard.core.digest import digest_bytes
from modelyard.core.records import Release
from modelyard.core.verdict import Measurement
from modelyard.core.window import Window
from modelyard.drift.edges import fit_profile
from modelyard.gates.policy import GatePolicy
from modelyard.ports.fleet import Trip
from modelyard.ports.predictions import HourUse, VersionUse
from modelyard.release.signature import Input, Signature

if TYPE_CHECKING:
    from sqlalchemy import Engine

ROOT = Path(__file__).parents[3]
MODEL = "flight_delay"
START = datetime(2013, 4, 9, tzinfo=UTC)
NOW = datetime(2013, 5, 1, tzinfo=UTC)
SNAPSHOT = "sha256:" + "5" * 64


class FrameLog:
    """``ports.predictions.Predictions`` over a frame whose labels carry the moment they became known."""

    def __init__(self) -> None:
        self.rows = requests(0, START, timedelta(days=1))
        self.counted: tuple[HourUse, ...] = ()

    def joined(self, model: str, window: Window, as_of: datetime) -> pd.DataFrame:
        rows = self.rows[(self.rows.event_time >= window.start) & (self.rows.event_time < window.end)].copy()
        rows.loc[~(rows.label_at <= as_of), "label"] = np.nan
        return rows

    def rollout(self, model: str, rollout: str) -> pd.DataFrame:
        return self.rows.iloc[:0]

    def usage(self, model: str, window: Window) -> tuple[HourUse, ...]:
        return tuple(h for h in self.counted if window.start <= h.hour < window.end)

    def trips(self, model: str, rollout: str) -> tuple[Trip, ...]:
        return ()

    def newest(self, model: str) -> datetime | None:
        return self.rows.event_time.max().to_pydatetime() if len(self.rows) else None


def features(n: int, seed: int = 0, warmer: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    temp = rng.normal(10 + warmer, 5, n).astype(np.float32)
    return pd.DataFrame({"temp": temp, "carrier": rng.choice(["UA", "B6"], n)})


def requests(
    n: int, start: datetime, length: timedelta, *, gap: float = 0.0, version: int = 1, seed: int = 1
) -> pd.DataFrame:
    """Answered requests, evenly spread; outcomes are known two hours later. ``gap``: the scores are too high by it."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.1, 0.5, n)
    times = pd.DatetimeIndex([start + length * i / max(n, 1) for i in range(n)], tz="UTC").as_unit("us")
    return features(n, seed).assign(
        event_time=times,
        request_id=[f"{version}-{seed}-{i}" for i in range(n)],
        version=version,
        score=truth + gap,
        label=(rng.random(n) < truth).astype(float),
        label_at=times + timedelta(hours=2),
    )


def counts(rows: pd.DataFrame, *, failing: float = 0.0, since: datetime = START) -> tuple[HourUse, ...]:
    """What a replica counts of these rows; from ``since`` on so large a share of the requests fails besides."""
    found = []
    for hour, n in rows["event_time"].dt.floor("h").value_counts().sort_index().items():
        failed = int(n * failing) if hour >= since else 0
        spent = (VersionUse(version=1, size=1, calls=n, rows=n, cpu_s=n * 3e-5),)
        found.append(HourUse(hour=hour, requests=n + failed, failed=failed, rows=n, memory_mb=300.0, spent=spent))
    return tuple(found)


@dataclass
class Here:
    """What the deciding flows use of a platform."""

    settings: Settings
    ledger: PostgresLedger
    predictions: FrameLog = field(default_factory=FrameLog)
    reports: Any = None
    signer: Any = KEY
    trust: Any = TRUST
    audited_before: int = 0

    def release(self, version: int = 1, *, author: str = "governor", scale: float = 1.0, **over: Any) -> Release:
        """Write a bundle and record its release as a candidate."""
        reference = features(4000).assign(score=np.random.default_rng(0).uniform(0.1, 0.5, 4000))
        files = {
            "profile.json": fit_profile(reference, numeric=["temp", "score"], categorical=["carrier"]).to_json(),
            "signature.json": Signature(
                model=MODEL,
                key="flight",
                inputs=(
                    Input(name="temp", kind="numeric", source="weather", scale=scale),
                    Input(name="carrier", kind="categorical", source="request", vocabulary=("UA", "B6")),
                ),
            ).to_json(),
        }
        values = {
            "model": MODEL,
            "version": version,
            "semver": f"1.{version}.0",
            "mlflow_run_id": f"run-{version}",
            "code_commit": "c0ffee",
            "created_at": START,
            "as_of": START,
            "reason": "a test",
            "author": author,
            "snapshot": SNAPSHOT,
            "dvc_md5": "0" * 32,
            "files": {name: digest_bytes(text.encode()) for name, text in files.items()},
            "parts": {"architecture": "a"},
        }
        release = Release.model_validate(values | over)
        folder = self.settings.home / "bundles" / release.digest[7:19]
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (files | {"manifest.json": release.to_json()}).items():
            (folder / name).write_text(text)
        self.ledger.releases.add(release, folder.as_uri())
        return release

    def crown(self, release: Release) -> None:
        """Make it the champion."""
        self.ledger.releases.mark(release.digest, "ready", "a test")
        self.ledger.releases.crown(MODEL, release.digest, f"rollout-{release.version}", START)

    def actions(self) -> list[str]:
        """What this test has added to the audit log, in order."""
        return [event.action for seq, event in self.ledger.journal.audit_log(MODEL) if seq > self.audited_before]

    def open_incidents(self) -> list[str]:
        """Keys of open incidents."""
        return [incident.key for _, _, incident in self.ledger.journal.incidents(MODEL, open_only=True)]


def here(engine: Engine, home: Path, profile: str = "demo") -> Here:
    """A platform on an empty ledger; only the audit log keeps what earlier tests wrote: nothing can empty it."""
    from sqlalchemy import text

    from modelyard.adapters.db.tables import metadata

    with engine.begin() as db:
        names = ", ".join(table.name for table in metadata.sorted_tables if not table.name.startswith("audit_"))
        db.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    env = {"MODELYARD_ROOT": str(ROOT), "MODELYARD_HOME": str(home), "MODELYARD_PROFILE": profile}
    ledger = PostgresLedger(engine)
    before = max((seq for seq, _ in ledger.journal.audit_log(MODEL)), default=0)
    return Here(Settings.from_env(env), ledger, audited_before=before)


def evidence(release: Release, champion: Release | None = None, **over: float) -> list[Measurement]:
    """Sound measurements of a release by the shipped policy; ``over`` replaces values by name."""
    policy = load_policy(GatePolicy, "gates", Settings.from_env({"MODELYARD_ROOT": str(ROOT)}), MODEL)
    found = sound(policy, release.digest, champion.digest if champion else None, NOW).values()
    return [
        m.model_copy(update={"value": over[m.name], "low": over[m.name], "high": over[m.name]})
        if m.name in over and not m.slice
        else m
        for m in found
    ]
