"""`drift compare` counts rows where they lie, in files and in PostgreSQL, and says what is not as the reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from integration.flows.decisions import MODEL, Here, features, here

from modelyard.adapters.local_profiler import LocalProfiler
from modelyard.core.errors import EvidenceMissing, NotFound
from modelyard.flows.profile import Compared, compare
from modelyard.ports.profiler import Rows
from modelyard.wiring import profiler_of

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.fixture
def platform(ledger_engine: Engine, tmp_path: Path) -> Here:
    return here(ledger_engine, tmp_path)


def psi(found: Compared) -> dict[str, float | None]:
    return {m.slice.removeprefix("feature="): m.value for m in found.scores if m.name == "psi"}


def test_files_and_a_table_of_the_same_rows_give_the_same_scores(
    platform: Here, tmp_path: Path, postgres_url: str
) -> None:
    platform.crown(platform.release())
    rows = features(3000, seed=5, warmer=8.0).assign(score=0.3)
    rows.drop(columns="carrier").assign(added=1).to_parquet(tmp_path / "rows.parquet")
    of_files = compare(platform, MODEL, Rows(files=(str(tmp_path / "rows.parquet"),)), LocalProfiler())  # type: ignore[arg-type]
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as db:
        db.execute("CREATE TABLE asked (temp float4, score float8, added int)")
        with db.cursor().copy("COPY asked FROM STDIN") as copy:
            for row in rows.itertuples():
                copy.write_row((float(row.temp), row.score, 1))
    of_table = compare(platform, MODEL, Rows(table="asked"), profiler_of(postgres_url))  # type: ignore[arg-type]
    assert of_files == of_table
    assert of_files.counted.vanished == ("carrier",)
    assert of_files.counted.added == ("added",)
    found = psi(of_files)
    assert found["temp"] is not None
    assert found["temp"] > 0.5
    missing = {m.slice: m.value for m in of_files.scores if m.name == "missing_rise"}
    assert missing["feature=carrier"] == 1.0


def test_nothing_to_compare_is_never_no_drift(platform: Here, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    features(10).to_parquet(file)
    with pytest.raises(NotFound, match="champion"):
        compare(platform, MODEL, Rows(files=(str(file),)), LocalProfiler())  # type: ignore[arg-type]
    platform.crown(platform.release())
    features(10).iloc[:0].to_parquet(file)
    with pytest.raises(EvidenceMissing, match="no rows are no evidence"):
        compare(platform, MODEL, Rows(files=(str(file),)), LocalProfiler())  # type: ignore[arg-type]
    features(10).add_prefix("other_").to_parquet(file)
    with pytest.raises(EvidenceMissing, match="none of the columns of the reference: temp, score, carrier"):
        compare(platform, MODEL, Rows(files=(str(file),)), LocalProfiler())  # type: ignore[arg-type]
