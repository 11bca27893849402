"""Training on small seeded rows: it learns, repeats itself bit by bit, and keeps its hands off the held-out days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fixtures.tiny_project import WINDOW, rows, tiny

from modelyard.config.project import Project
from modelyard.core.errors import ConfigError, EvidenceMissing
from modelyard.evaluation.metrics import auc
from modelyard.training.fit import Rows, fit
from modelyard.training.model import Trained, train_model
from modelyard.training.params import TrainParams, read_params
from modelyard.training.signature import learn_signature, with_serving_units
from modelyard.training.split import rows_in


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def params(project: Project) -> TrainParams:
    return read_params(project.params, model=project.name)


@pytest.fixture(scope="module")
def trained(project: Project, params: TrainParams) -> Trained:
    return train_model(project, rows(), WINDOW, params, device="cpu")


def state(trained: Trained) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in trained.fitted.network.state_dict().items()}


def test_it_learns_and_is_calibrated_on_days_it_never_saw(trained: Trained) -> None:
    frame = rows()
    held = frame[rows_in(frame["asked_at"], trained.split.evaluation)]
    p, label = trained.score(held), held["late"].to_numpy()
    assert auc(label, p) > 0.8
    assert p.mean() == pytest.approx(label.mean(), abs=0.05)


def test_equal_seeds_give_equal_bits(project: Project, params: TrainParams, trained: Trained) -> None:
    again = train_model(project, rows(), WINDOW, params, device="cpu")
    assert state(again) == state(trained)
    assert again.calibration == trained.calibration
    other = train_model(project, rows(), WINDOW, params.model_copy(update={"seed": 4}), device="cpu")
    assert state(other) != state(trained)


def test_the_evaluation_days_and_unknown_outcomes_change_nothing(
    project: Project, params: TrainParams, trained: Trained
) -> None:
    frame = rows()
    later = rows_in(frame["asked_at"], trained.split.evaluation)
    frame.loc[later, "late"] = 1 - frame.loc[later, "late"]
    unknown = frame.iloc[:50].assign(key=[f"u{i}" for i in range(50)], late=np.nan)
    assert state(train_model(project, pd.concat([frame, unknown]), WINDOW, params, device="cpu")) == state(trained)


def test_training_leaves_the_global_seed_and_threads_alone(project: Project, params: TrainParams) -> None:
    import torch

    torch.manual_seed(11)
    threads, expected = torch.get_num_threads(), torch.rand(1)
    torch.manual_seed(11)
    train_model(project, rows(), WINDOW, params, device="cpu")
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_the_history_names_the_epoch_that_was_kept(trained: Trained) -> None:
    history = trained.fitted.history
    assert [h.epoch for h in history] == [1, 2, 3]
    assert min(history, key=lambda h: h.validation_loss).epoch == trained.fitted.best


def test_rare_categories_are_unknown_and_the_vocabulary_is_sorted(trained: Trained) -> None:
    (carrier,) = trained.signature.categorical
    assert carrier.vocabulary == ("AA", "B6", "UA")


def test_no_rows_are_no_evidence(project: Project, params: TrainParams) -> None:
    with pytest.raises(EvidenceMissing, match="none to learn from"):
        train_model(project, rows().iloc[:0], WINDOW, params)


def test_a_frame_without_a_feature_is_refused(project: Project, params: TrainParams) -> None:
    with pytest.raises(ConfigError, match="wind"):
        train_model(project, rows().drop(columns="wind"), WINDOW, params)


def test_a_loss_that_is_no_number_ends_the_training(project: Project, params: TrainParams, trained: Trained) -> None:
    from modelyard.training.model import builder

    bad = Rows(
        {"numeric": np.full((4, 2), np.inf, np.float32), "categorical": np.zeros((4, 1), np.int64)},
        np.ones(4, np.float32),
    )
    with pytest.raises(ValueError, match="not finite"):
        fit(builder(project, trained.signature, params), bad, bad, params, device="cpu")


def test_missing_numbers_count_as_the_mean(trained: Trained) -> None:
    import torch

    network = trained.fitted.network
    numeric = torch.tensor([[float("nan"), 1000.0]])
    indicator = network.missing.tolist()
    assert indicator == [0]
    assert torch.isfinite(network(numeric=numeric, categorical=torch.tensor([[0]]))).all()


@pytest.mark.parametrize(
    ("units", "named"),
    [({"carrier": {"scale": 2}}, "carrier"), ({"wind": {"by": 2}}, "by"), ({"wind": {"scale": "2"}}, "scale")],
)
def test_wrong_serving_units_are_refused(
    project: Project, params: TrainParams, units: dict[str, dict[str, float]], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        with_serving_units(learn_signature(project.spec, rows(), params), units)


def test_importing_the_package_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, modelyard.training.model, modelyard.training.export, modelyard.flows.train;"
        "import modelyard.flows.evaluate, modelyard.flows.registry;"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'mlflow', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
