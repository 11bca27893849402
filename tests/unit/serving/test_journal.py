"""The write-ahead journal: on disk before the answer, read back to the last whole record, removed in the end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.serving import journal as journal_module
from modelyard.serving.encoding import Encoded
from modelyard.serving.errors import Refusal
from modelyard.serving.journal import Journal, left_behind
from modelyard.serving.log import Answered, Label, Number, PredictionLog
from modelyard.serving.records import answered_record, outcomes_record, read_record

pytestmark = pytest.mark.anyio
DAY_US = 86_400_000_000


def rows(*keys: str) -> Answered:
    n = len(keys)
    return Answered(
        model="m", rollout="r", release="sha256:x", version=3, variant="champion", generation=1,
        request_ids=[f"id-{k}" for k in keys], keys=list(keys),
        event_us=[15_000 * DAY_US] * n, served_us=15_000 * DAY_US,
        latency_ms=[1.5] * n, scores=np.linspace(0.1, 0.9, n),
        encoded=Encoded(np.full((n, 2), np.nan, np.float32), np.zeros((n, 1), np.int64), (("UA",),) * n),
        names=(("distance", "wind"), ("carrier",)),
    )  # fmt: skip


def records(folder: Path) -> list[bytes]:
    return [record for _, found in left_behind(folder) for record in found]


def segments(root: Path) -> list[Path]:
    return list(root.glob(".journal/*/*.wal"))


def abandon(journal: Journal) -> None:
    """As a kill does: the file stays, its lock goes."""
    assert journal._segment is not None
    os.close(journal._segment._file)


@pytest.mark.parametrize("cut", [1, 4, 9, 12])
async def test_a_record_that_was_cut_short_ends_its_segment(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, "s")
    for body in (b"one", b"two", b"three"):
        segment = journal.append(body, 1)
    assert records(tmp_path) == []  # a living process writes to it
    abandon(journal)
    assert records(tmp_path) == [b"one", b"two", b"three"]
    with segment.path.open("r+b") as file:
        file.truncate(segment.path.stat().st_size - cut)
    assert records(tmp_path) == [b"one", b"two"]
    data = bytearray(segment.path.read_bytes())
    data[9] ^= 1
    segment.path.write_bytes(data)
    assert records(tmp_path) == []


async def test_a_segment_stays_until_all_of_its_rows_are_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s")
    first = journal.append(b"a", 2)
    assert journal.append(b"b", 3) is first
    first.done(2)
    journal.rotate()
    assert first.path.exists()
    second = journal.append(b"c", 1)
    assert second.path != first.path
    first.done(3)
    assert not first.path.exists()
    second.done(1)
    assert second.path.exists()  # more may come
    journal.rotate()
    assert not second.path.exists()


async def test_records_are_read_as_they_were_written() -> None:
    one = rows("a", "b")
    (again,), _, _ = read_record(answered_record(one))
    np.testing.assert_array_equal(again.encoded.numeric, one.encoded.numeric)
    np.testing.assert_array_equal(again.scores, one.scores)
    assert (again.encoded.texts, again.names, again.keys) == (one.encoded.texts, one.names, one.keys)
    label, number = Label("m", "a", None, 1.0, 5, 6), Number("m", None, "id-a", "rating", 4.5, 5, 6)
    assert read_record(outcomes_record([label], [number])) == ([], [label], [number])
    for nonsense in (b"", b"\xc1", b"\x01", b"\x92\xa8answered\x80"):
        with pytest.raises(ValueError, match="not a record"):
            read_record(nonsense)


async def test_what_was_written_ahead_is_recovered_once(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "g1", seconds=0)
    for key in "abc":
        log.write_ahead(rows(key))  # answered, and never handed to the writer
    assert log._journal is not None
    abandon(log._journal)
    assert ParquetPredictions(tmp_path).rollout("m", "r").empty
    assert await PredictionLog(tmp_path, "other", seconds=0).recover() == 0
    assert await PredictionLog(tmp_path, "g1").recover() == 3
    assert await PredictionLog(tmp_path, "g1").recover() == 0
    assert sorted(ParquetPredictions(tmp_path).rollout("m", "r")["key"]) == ["a", "b", "c"]


async def test_an_orderly_end_leaves_no_journal(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "g1", seconds=0)
    waits = rows("b")  # for the other version's score, over a flush
    for one in (rows("a"), waits):
        log.write_ahead(one)
    log.add(rows("c"))
    log.feedback([Label("m", "a", None, 1.0, 15_000 * DAY_US, 0)])
    log.flush()
    await asyncio.sleep(0.05)
    assert segments(tmp_path)
    log.add(waits)
    await log.close()
    assert len(segments(tmp_path)) == 1  # row a was answered and never added
    assert sorted(ParquetPredictions(tmp_path).rollout("m", "r")["key"]) == ["b", "c"]


async def test_what_cannot_be_written_ahead_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path, "g1", seconds=0)
    log.write_ahead(rows("a"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, "fdatasync", full)
    with pytest.raises(Refusal, match="No space left") as refused:
        log.write_ahead(rows("b"))
    assert (refused.value.status, refused.value.code) == (503, "log_unavailable")
    with pytest.raises(Refusal):
        log.feedback([Label("m", "a", None, 1.0, 0, 0)])
    monkeypatch.undo()
    log.write_ahead(rows("c"))
    await log.close()
