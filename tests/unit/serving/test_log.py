"""The log: whole files, one row per answer, bounded, nothing lost at an orderly end."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.config.project import RESERVED
from modelyard.core.window import Window
from modelyard.ports.fleet import Trip
from modelyard.serving import log as log_module
from modelyard.serving.encoding import Encoded
from modelyard.serving.fanout import read_trips
from modelyard.serving.log import Answered, Label, PredictionLog

pytestmark = pytest.mark.anyio
START = datetime(2013, 4, 9, tzinfo=UTC)
ALL = Window(start=START, end=START + timedelta(days=3))


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def answered(number: int, *, hours: float = 0, rollout: str = "r", other: float | None = None) -> Answered:
    encoded = Encoded(np.array([[number]], dtype=np.float32), np.array([[1]]), ((None if number == 2 else "UA",),))
    when = us(START + timedelta(hours=hours))
    return Answered(
        model="m", rollout=rollout, release="sha256:0", version=1, variant="champion", generation=1,
        request_ids=[f"q{number}"], keys=[f"k{number}"], event_us=when, served_us=when, latency_ms=1.0,
        scores=np.array([0.25]), encoded=encoded, names=(("distance",), ("carrier",)),
        other=None if other is None else np.array([other]),
    )  # fmt: skip


def label(value: float, hours: float, *, key: str | None = None, request: str | None = None) -> Label:
    known = us(START + timedelta(hours=hours))
    return Label("m", key, request, value, known, known)


async def test_rows_and_labels_are_joined_once_in_any_order(tmp_path: Path) -> None:
    first, second = PredictionLog(tmp_path, "gateway-1"), PredictionLog(tmp_path, "gateway-2")
    first.feedback([label(1, 5, key="k1"), label(1, 5, key="k1")])  # before the request, and twice
    first.add(answered(1, other=0.5))
    second.add(answered(2, hours=25))
    second.add(answered(3, rollout="other"))
    first.flush()
    first.feedback([label(0, 6, key="k2"), label(1, 7, key="k2"), label(0, 8, request="q3")])
    await first.close()
    await second.close()
    log = ParquetPredictions(tmp_path)
    frame = log.joined("m", ALL, START + timedelta(days=9)).set_index("request_id")
    assert frame["label"].to_dict() == {"q1": 1.0, "q2": 1.0, "q3": 0.0}
    assert frame.loc["q1", ["distance", "carrier", "other_score"]].tolist() == [1.0, "UA", 0.5]
    assert frame["replica"].to_dict() == {"q1": "gateway-1", "q2": "gateway-2", "q3": "gateway-2"}
    assert frame.loc["q2", "carrier"] is None
    assert np.isnan(frame.loc["q2", "other_score"])
    assert frame.loc["q2", "label_at"] == START + timedelta(hours=7)
    assert sorted(log.rollout("m", "r")["request_id"]) == ["q1", "q2"]
    assert log.newest("m") == START + timedelta(hours=25)


async def test_a_label_is_not_known_before_its_time(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "gateway-1")
    log.add(answered(1))
    log.feedback([label(0, 5, key="k1"), label(1, 7, key="k1")])
    await log.close()
    read = ParquetPredictions(tmp_path)
    labels = [read.joined("m", ALL, START + timedelta(hours=h))["label"].iloc[0] for h in (4, 5, 6, 7)]
    assert np.isnan(labels[0])
    assert labels[1:] == [0.0, 0.0, 1.0]


async def test_only_the_outcomes_of_days_that_can_matter_are_read(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "gateway-1")
    log.add(answered(1, hours=24))
    log.add(answered(2, hours=30))
    log.feedback([label(1, 25, key="k1"), label(0, 47.9, key="k2"), label(1, 48, key="k2")])
    log.feedback([label(1, hours, key="other") for hours in (-48, -0.1)])
    await log.close()
    for day in ("date=2013-04-07", "date=2013-04-08"):  # had one of these been opened, it would fail
        for file in (tmp_path / "m" / "feedback" / day).iterdir():
            file.write_text("no Parquet")
    read = ParquetPredictions(tmp_path)
    last = START + timedelta(hours=48)
    assert read.joined("m", ALL, last)["label"].tolist() == read.rollout("m", "r")["label"].tolist() == [1.0, 1.0]
    for file in (tmp_path / "m" / "feedback" / "date=2013-04-11").iterdir():
        file.write_text("no Parquet")
    assert read.joined("m", ALL, last - timedelta(minutes=1))["label"].tolist() == [1.0, 0.0]


async def test_the_window_is_half_open(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "gateway-1")
    for number, hours in enumerate([0, 23.99, 24, 48]):
        log.add(answered(number, hours=hours))
    await log.close()
    day = Window(start=START, end=START + timedelta(days=1))
    assert ParquetPredictions(tmp_path).joined("m", day, START)["request_id"].tolist() == ["q0", "q1"]


async def test_an_empty_log_has_its_columns(tmp_path: Path) -> None:
    frame = ParquetPredictions(tmp_path).joined("m", ALL, START)
    assert frame.empty
    assert {"score", "label", "other_score", "variant", "served_at", "error"} <= set(frame.columns)
    assert ParquetPredictions(tmp_path).newest("m") is None


async def test_a_batch_is_written_when_it_is_full(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "gateway-1", rows=10, seconds=3600)
    for number in range(10):
        log.add(answered(number))
    while not log.written:
        await log_module.asyncio.sleep(0.001)
    assert len(ParquetPredictions(tmp_path).rollout("m", "r")) == 10
    await log.close()


async def test_what_the_disk_cannot_take_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "MOST_BUFFERED", 3)
    log = PredictionLog(tmp_path, "gateway-1", seconds=3600)
    for number in range(5):
        log.add(answered(number))
    assert log.dropped == 2
    await log.close()
    blocked = PredictionLog(tmp_path / "file" / "below", "gateway-1")
    (tmp_path / "file").write_text("not a folder")
    blocked.add(answered(1))
    await blocked.close()
    assert (blocked.failed_writes, blocked.dropped) == (1, 1)


async def test_what_cannot_be_written_costs_nobody_else(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "gateway-1")
    beyond = us(datetime(9999, 12, 31, 23, tzinfo=UTC)) + 86_400_000_000
    log.feedback([Label("m", "k9", None, 1, beyond, beyond), Label("m", "k8", None, 1, beyond, beyond)])
    log.feedback([label(1, 5, key="k1")])
    log.add(answered(1))
    await log.close()
    assert (log.written, log.dropped, log.failed_writes) == (2, 2, 1)
    assert ParquetPredictions(tmp_path).joined("m", ALL, ALL.end)["label"].tolist() == [1.0]


def test_no_feature_can_have_the_name_of_a_column_of_the_log() -> None:
    one = answered(1, other=0.5)
    assert set(log_module.answered_columns([one], one.names)) - {"distance", "carrier"} <= RESERVED
    assert {"label", "label_at", "date", "replica", "_file"} <= RESERVED


def test_the_gateway_imports_no_heavy_library() -> None:
    code = (
        "import sys, modelyard.serving.__main__, onnxruntime, pyarrow.parquet, duckdb\n"
        "from modelyard.serving import columns\n"
        "columns.texts(['a', None]); columns.moments([1]); columns.integers([1])\n"
        "print(sorted({'mlflow','feast','torch','pandas','sklearn','scipy','sqlalchemy','airflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_trip_waits_for_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other replicas' users meet the challenger until it is written; a disk may be busy with rows for long."""
    written = threading.Event()
    real = log_module._write_table
    monkeypatch.setattr(log_module, "_write_table", lambda *args: (written.wait(5), real(*args)))
    log = PredictionLog(tmp_path, "gateway-1")
    log.add(answered(1))
    log.flush()
    who = {"replica": "gateway-1", "model": "m", "rollout": "r", "challenger": f"sha256:{0:064}", "generation": 1}
    found = Trip(**who, guardrail="error_rate", at=START)
    log.trip(found)
    log.submit(written.set)
    await log.close()
    assert read_trips(tmp_path, "m", "r") == [found]
    assert (log.written, written.is_set()) == (1, True)
    assert order_of(tmp_path) == ["events", "predictions"]


def order_of(root: Path) -> list[str]:
    """Kinds of the files there are, the one that was written first before the others."""
    files = sorted((path for path in (root / "m").rglob("*.*") if path.is_file()), key=lambda p: p.stat().st_mtime_ns)
    return [path.relative_to(root / "m").parts[0] for path in files]
