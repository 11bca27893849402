"""Compaction makes few files of many, loses no row, changes no answer, and may be killed at any point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modelyard.adapters import log_compaction
from modelyard.adapters.log_compaction import compact
from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.core.errors import Conflict
from modelyard.serving.encoding import Encoded
from modelyard.serving.log import Answered, Label, Number, PredictionLog

pytestmark = pytest.mark.anyio
DAY_US = 86_400_000_000


def rows(keys: list[str], name: str = "distance", version: int = 1, day: int = 15_000) -> Answered:
    n = len(keys)
    return Answered(
        model="m", rollout="r", release="sha256:x", version=version, variant="champion", generation=1,
        request_ids=[f"id-{k}" for k in keys], keys=keys, event_us=day * DAY_US, served_us=day * DAY_US,
        latency_ms=1.5, scores=np.linspace(0.1, 0.9, n),
        encoded=Encoded(np.full((n, 1), 7.0, np.float32), np.zeros((n, 1), np.int64), (("UA",),) * n),
        names=((name,), ("carrier",)),
    )  # fmt: skip


async def written(root: Path) -> pd.DataFrame:
    """Two replicas, two days, two versions with features of their own, labels and numbers, in many files."""
    for replica in ("g1", "g2"):
        log = PredictionLog(root, replica)
        for n in range(4):
            log.add(rows([f"{replica}-{n}-{i}" for i in range(5)], day=15_000 + n % 2))
            log.add(rows([f"{replica}-{n}-v2"], name="wind", version=2))
            log.feedback(
                [Label("m", f"{replica}-{n}-0", None, 1.0, 15_001 * DAY_US, n)],
                [Number("m", f"{replica}-{n}-1", None, "rating", n, 15_001 * DAY_US, n)],
            )
            log.flush()
        await log.close()
    return read(root)


def partials(root: Path) -> list[Path]:
    return list(root.rglob("date=*/.*"))


def read(root: Path) -> pd.DataFrame:
    frame = ParquetPredictions(root).rollout("m", "r")
    return frame.sort_values("request_id", ignore_index=True)[sorted(frame.columns)]


async def test_few_files_say_the_same_as_many(tmp_path: Path) -> None:
    before = await written(tmp_path)
    assert (len(before), before["label"].sum(), before["feedback.rating"].sum()) == (48, 8, 12)
    found, made = compact(tmp_path, "m")
    assert (found, made) == (32, 8)  # predictions: 2 replicas on 2 days; labels and numbers: 2 replicas each
    pd.testing.assert_frame_equal(read(tmp_path), before)
    assert set(before["replica"]) == {"g1", "g2"}
    assert compact(tmp_path, "m") == (8, 8)
    assert compact(tmp_path, "another") == (0, 0)


async def test_killed_at_any_point_it_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await written(tmp_path)

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    for module, name in ((log_compaction, "_sync"), (Path, "replace"), (Path, "unlink")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(Killed):
                compact(tmp_path, "m")
        pd.testing.assert_frame_equal(read(tmp_path), before)
    compact(tmp_path, "m")
    pd.testing.assert_frame_equal(read(tmp_path), before)
    assert partials(tmp_path) == []


async def test_a_reader_whose_files_were_merged_meanwhile_reads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await written(tmp_path)
    real, calls = ParquetPredictions._query, []

    def late(self: ParquetPredictions, *args: object) -> pd.DataFrame:
        calls.append(args)
        if len(calls) == 1:
            compact(tmp_path, "m")
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(ParquetPredictions, "_query", late)
    pd.testing.assert_frame_equal(read(tmp_path), before)
    assert len(calls) == 2


async def test_a_file_that_a_gateway_is_writing_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its last byte and its name there is time for a whole merge."""
    before = await written(tmp_path)
    real = Path.replace
    merged = []

    def slowly(self: Path, target: Path) -> Path:
        if not merged and self.name.endswith(".partial"):
            merged.append(compact(tmp_path, "m"))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", slowly)
    log = PredictionLog(tmp_path, "g3")
    log.add(rows(["late"]))
    await log.close()
    assert (merged, log.dropped) == ([(32, 8)], 0)
    assert len(read(tmp_path)) == len(before) + 1


async def test_two_do_not_merge_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await written(tmp_path)
    real = log_compaction._merge

    def meanwhile(*args: object) -> None:
        with pytest.raises(Conflict, match="already"):
            compact(tmp_path, "m")
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(log_compaction, "_merge", meanwhile)
    assert compact(tmp_path, "m") == (32, 8)
    pd.testing.assert_frame_equal(read(tmp_path), before)


async def test_a_merge_while_files_are_being_listed_hides_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the listing had not come to yet is removed, and the merged files lie where it has been already."""
    before = await written(tmp_path)
    real, merged = Path.glob, []

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        met = list(real(self, pattern))
        if pattern.endswith("~r.parquet") and not merged:
            merged.append(compact(tmp_path, "m"))
            met = [path for path in met if path.exists()]
        return iter(met)

    monkeypatch.setattr(Path, "glob", glob)
    pd.testing.assert_frame_equal(read(tmp_path), before)
    assert merged == [(32, 8)]
