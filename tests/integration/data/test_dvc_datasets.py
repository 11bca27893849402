"""Snapshots in a real DVC project: one version per content, immutable, fetched back from the remote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from modelyard.adapters.dvc_datasets import DvcDatasets
from modelyard.core.errors import IntegrityError, NotFound
from modelyard.core.records import Snapshot
from modelyard.core.window import Window, parse_moment

WINDOW = Window.parse("2013-01-01/2013-01-02")
AS_OF = parse_moment("2013-01-03")
ROWS = pd.DataFrame({"key": ["b", "a"], "x": [1.0, float("nan")], "c": ["u", None]})

PUT = """
import sys
from pathlib import Path
import pandas as pd
from modelyard.adapters.dvc_datasets import DvcDatasets
from modelyard.core.window import Window, parse_moment
rows = pd.DataFrame({"key": ["b", "a"], "x": [1.0, 2.0]})
here = DvcDatasets(Path(sys.argv[1]) / "data", keys=lambda _: "key")
print(here.put("toy", Window.parse("2013-01-01/2013-01-02"), parse_moment("2013-01-03"), rows).to_json())
"""


def datasets(home: Path) -> DvcDatasets:
    return DvcDatasets(home / "data", keys=lambda _: "key")


def put(home: Path) -> Snapshot:
    return datasets(home).put("toy", WINDOW, AS_OF, ROWS)


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return put(tmp_path)


def test_a_snapshot_is_versioned_by_dvc_and_read_back(tmp_path: Path, snapshot: Snapshot) -> None:
    record = yaml.safe_load((tmp_path / "data" / f"{snapshot.path}.dvc").read_text())
    assert record["outs"][0]["md5"] == snapshot.dvc_md5
    assert (tmp_path / "data-remote" / "files" / "md5" / snapshot.dvc_md5[:2] / snapshot.dvc_md5[2:]).is_file()
    assert datasets(tmp_path).read(snapshot)["key"].tolist() == ["a", "b"]
    assert (snapshot.rows, snapshot.columns) == (2, ("c", "key", "x"))


def test_the_same_rows_again_are_one_version_whatever_their_order(tmp_path: Path, snapshot: Snapshot) -> None:
    again = datasets(tmp_path).put("toy", WINDOW, AS_OF, ROWS.iloc[::-1][["x", "c", "key"]])
    assert again == snapshot
    assert len(list((tmp_path / "data" / "toy").glob("*.parquet"))) == 1


def test_other_rows_are_another_version(tmp_path: Path, snapshot: Snapshot) -> None:
    other = datasets(tmp_path).put("toy", WINDOW, AS_OF, ROWS.assign(x=[1.0, 2.0]))
    assert other.content != snapshot.content
    assert other.dvc_md5 != snapshot.dvc_md5
    assert datasets(tmp_path).read(snapshot)["x"].isna().any()


def test_a_lost_file_comes_back_from_the_remote(tmp_path: Path, snapshot: Snapshot) -> None:
    datasets(tmp_path).path(snapshot).unlink()
    shutil.rmtree(tmp_path / "data" / ".dvc" / "cache")
    assert len(datasets(tmp_path).read(snapshot)) == 2


def test_changed_bytes_are_found(tmp_path: Path, snapshot: Snapshot) -> None:
    path = datasets(tmp_path).path(snapshot)
    path.unlink()
    ROWS.sort_values("key").assign(x=5.0)[["c", "key", "x"]].to_parquet(path)
    with pytest.raises(IntegrityError, match="the snapshot is"):
        datasets(tmp_path).read(snapshot)


def test_a_snapshot_of_elsewhere_is_not_found(tmp_path: Path, snapshot: Snapshot) -> None:
    with pytest.raises(NotFound, match="does not have it"):
        datasets(tmp_path).path(snapshot.model_copy(update={"path": "toy/none.parquet"}))


def test_two_processes_at_once_make_one_version(tmp_path: Path) -> None:
    script = tmp_path / "put.py"
    script.write_text(PUT)
    asked = [subprocess.Popen([sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0] for process in asked]
    assert answers[0] == answers[1]
    first = Snapshot.from_json(answers[0])
    assert datasets(tmp_path).read(first)["key"].tolist() == ["a", "b"]


def test_nothing_is_sent_home_and_no_repository_is_needed(tmp_path: Path, snapshot: Snapshot) -> None:
    config = (tmp_path / "data" / ".dvc" / "config").read_text()
    assert "analytics = false" in config
    assert "no_scm = True" in config
    assert not (tmp_path / "data" / ".git").exists()
