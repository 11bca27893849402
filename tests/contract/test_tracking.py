"""What every ``ports.tracking.Tracking`` must do, held against MLflow's real server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from modelyard.core.errors import Conflict, NotFound
from modelyard.ports.tracking import Tracking

RUN_KEY = "modelyard.run_key"


class TrackingContract:
    """Inherited by each implementation; ``tracking`` gives one, ``model`` a name that nobody used before."""

    @pytest.fixture
    def tracking(self) -> Tracking:
        raise NotImplementedError

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> str:
        return request.node.name

    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        folder = tmp_path / "bundle"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"graph")
        return folder

    def test_a_run_is_found_by_its_tag_once_finished(self, tracking: Tracking, model: str) -> None:
        with tracking.start(model, "first", {RUN_KEY: "k"}) as run:
            assert tracking.find_run(model, RUN_KEY, "k") is None
            assert tracking.find_run(model, RUN_KEY, "k", finished=False) == run.id
        assert tracking.find_run(model, RUN_KEY, "k") == run.id
        assert tracking.find_run(model, RUN_KEY, "other") is None

    def test_nothing_is_found_in_an_experiment_that_does_not_exist(self, tracking: Tracking) -> None:
        assert tracking.find_run("never_made", RUN_KEY, "k") is None

    def test_a_run_whose_body_raises_is_not_finished(self, tracking: Tracking, model: str) -> None:
        with pytest.raises(ZeroDivisionError), tracking.start(model, "broken", {RUN_KEY: "k"}):
            _ = 1 / 0
        assert tracking.find_run(model, RUN_KEY, "k") is None

    def test_a_broken_run_can_be_resumed_and_finished(self, tracking: Tracking, model: str) -> None:
        with pytest.raises(ZeroDivisionError), tracking.start(model, "broken", {RUN_KEY: "k"}) as run:
            _ = 1 / 0
        with tracking.resume(run.id) as again:
            again.tags({"more": "said"})
        assert tracking.find_run(model, RUN_KEY, "k") == run.id

    def test_the_steps_of_a_metric_are_known(self, tracking: Tracking, model: str) -> None:
        with tracking.start(model, "steps", {}) as run:
            assert run.steps("loss") == frozenset()
            run.metrics([("loss", 0.5, 1), ("loss", 0.4, 2), ("other", 0.4, 3)])
            assert run.steps("loss") == {1, 2}

    def test_metrics_params_dataset_and_files_are_kept(self, tracking: Tracking, model: str, bundle: Path) -> None:
        frame = pd.DataFrame({"n": [1.0, 2.0], "text": ["a", None]})
        with tracking.start(model, "full", {}) as run:
            run.params({"fit": {"lr": 0.1}, "hidden": [1, 2]})
            run.params({"fit": {"lr": 0.1}})  # a retry says the same again
            run.metrics([("loss", 1 / (step + 1), step) for step in range(1500)])
            run.dataset(frame, name="rows", digest="0" * 32, source="file:///rows", context="training")
            run.folder(bundle, "bundle")
        assert run.id in tracking.run_url(run.id)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_metric_that_is_no_number_is_refused(self, tracking: Tracking, value: float) -> None:
        with pytest.raises(ValueError, match="says nothing"), tracking.start("metrics", "nan", {}) as run:
            run.metrics([("loss", value, 0)])

    def test_a_run_is_registered_once(self, tracking: Tracking, model: str, bundle: Path) -> None:
        versions = []
        for name in ("first", "second"):
            with tracking.start(model, name, {}) as run:
                versions += [tracking.register(model, run.id, bundle, {"state": "new"}) for _ in range(2)]
        assert versions == [1, 1, 2, 2]
        assert tracking.versions(model) == {1: {"state": "new"}, 2: {"state": "new"}}

    def test_aliases_move_and_go(self, tracking: Tracking, model: str, bundle: Path) -> None:
        assert tracking.aliases(model) == {}
        for name in ("first", "second"):
            with tracking.start(model, name, {}) as run:
                version = tracking.register(model, run.id, bundle, {})
                tracking.set_alias(model, "champion", version)
        assert tracking.aliases(model) == {"champion": 2}
        tracking.set_alias(model, "champion", 1)
        assert tracking.aliases(model) == {"champion": 1}
        tracking.drop_alias(model, "champion")
        tracking.drop_alias(model, "champion")
        assert tracking.aliases(model) == {}

    def test_tags_of_a_version_are_replaced(self, tracking: Tracking, model: str, bundle: Path) -> None:
        with tracking.start(model, "only", {}) as run:
            version = tracking.register(model, run.id, bundle, {"state": "new"})
        tracking.tag_version(model, version, {"state": "candidate"})
        assert tracking.versions(model)[version]["state"] == "candidate"

    def test_what_does_not_exist_is_said_so(self, tracking: Tracking, model: str) -> None:
        with pytest.raises((NotFound, Conflict)):
            tracking.set_alias(model, "champion", 7)
        with pytest.raises(NotFound):
            tracking.run_url("0" * 32)
        assert tracking.versions(model) == {}


class TestMlflow(TrackingContract):
    """MLflow's server on PostgreSQL."""

    @pytest.fixture
    def tracking(self, mlflow_uri: str) -> Iterator[Tracking]:
        from modelyard.adapters.mlflow_tracking import MlflowTracking

        return MlflowTracking(mlflow_uri)

    def test_a_dataset_keeps_its_version(self, tracking: Tracking, mlflow_uri: str) -> None:
        from mlflow import MlflowClient

        with tracking.start("datasets", "one", {}) as run:
            frame = pd.DataFrame({"n": [1.0]})
            run.dataset(frame, name="rows", digest="d" * 32, source="/rows.parquet", context="training")
        (found,) = MlflowClient(mlflow_uri).get_run(run.id).inputs.dataset_inputs
        assert (found.dataset.name, found.dataset.digest) == ("rows", "d" * 32)

    def test_a_server_that_is_away_is_unavailable(self) -> None:
        from modelyard.adapters.mlflow_tracking import MlflowTracking
        from modelyard.core.errors import Unavailable

        with pytest.raises(Unavailable):
            MlflowTracking("http://127.0.0.1:1").aliases("any")
