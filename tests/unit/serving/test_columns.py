"""Columns say what they were made of, however they keep it; and a flush is one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.adapters.prediction_log import ParquetPredictions
from modelyard.serving import columns
from modelyard.serving.encoding import Encoded
from modelyard.serving.log import Answered, PredictionLog

WORDS = ("UA", "DL", "é", "")


@given(st.lists(st.sampled_from([*WORDS, "??", "new", None])))
def test_places_in_a_vocabulary_stand_for_its_words(texts: list[str | None]) -> None:
    codes = np.array([WORDS.index(text) + 1 if text in WORDS else 0 for text in texts], dtype=np.int64)
    unknown = [text for text in texts if text not in WORDS]
    column = columns.words(codes, WORDS, unknown)
    assert column.to_pylist() == texts
    assert len(column.dictionary) == len(set(texts) - {None})


@given(st.lists(st.tuples(st.sampled_from(["a", "", "é"]), st.integers(0, 3))))
def test_a_text_for_many_rows_is_kept_once(runs: list[tuple[str, int]]) -> None:
    column = columns.repeated([text for text, _ in runs], [times for _, times in runs])
    assert column.to_pylist() == [text for text, times in runs for _ in range(times)]
    assert len(column.dictionary) == len({text for text, _ in runs})


@pytest.mark.anyio
@pytest.mark.parametrize("vocabularies", [(("UA",), ("UA",)), (("UA",), ("DL", "UA")), ((), ())])
async def test_both_variants_of_a_flush_share_a_file(tmp_path: Path, vocabularies: tuple[tuple[str, ...], ...]) -> None:
    log = PredictionLog(tmp_path, "gateway-1")
    for version, vocabulary in enumerate(vocabularies, start=1):
        texts = ("UA", "??", None)
        codes = [vocabulary.index(text) + 1 if text in vocabulary else 0 for text in texts]
        log.add(
            Answered(
                model="m", rollout="r", release=f"sha256:{version}", version=version, variant=f"v{version}",
                generation=1, request_ids=[f"q{version}{n}" for n in range(3)], keys=["k"] * 3, event_us=1, served_us=1,
                latency_ms=1.0, scores=np.array([0.1, 0.2, 0.3]), names=((), ("carrier",)),
                encoded=Encoded(np.zeros((3, 0)), np.array(codes).reshape(3, 1), tuple((text,) for text in texts)),
                words=(vocabulary,) if vocabulary else (),
            )
        )  # fmt: skip
    await log.close()
    assert len(files_of(tmp_path)) == 1
    frame = ParquetPredictions(tmp_path).rollout("m", "r").sort_values("request_id")
    assert frame["carrier"].tolist() == ["UA", "??", None] * 2
    assert frame["version"].tolist() == [1, 1, 1, 2, 2, 2]
    assert frame["variant"].tolist() == ["v1"] * 3 + ["v2"] * 3
    assert frame["release"].tolist() == ["sha256:1"] * 3 + ["sha256:2"] * 3


def files_of(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.parquet") if path.is_file()]
