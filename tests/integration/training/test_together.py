"""Two processes under torchrun fit what one fits; one that dies ends the job with its own message."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.tiny_project import WINDOW, rows, write_tiny

from modelyard.config.project import Project, load_project
from modelyard.core.errors import Unavailable
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.model import Trained, train_model
from modelyard.training.params import TrainParams, read_params

DIES = """
import os, signal
from modelyard.training.network import Shape, TabularNetwork

def build(shape: Shape) -> TabularNetwork:
    made, calls = TabularNetwork(shape), []
    def die(*_: object) -> None:
        calls.append(1)
        if len(calls) == 5 and os.environ.get("RANK") == "1":
            {how}
    made.register_forward_pre_hook(die)
    return made
"""


def project(root: Path, how: str = "") -> tuple[Project, TrainParams]:
    settings = write_tiny(root)
    folder = root / "projects" / "tiny"
    if how:
        (folder / "network.py").write_text(DIES.format(how=how))
        (folder / "model.yaml").write_text((folder / "model.yaml").read_text() + "network: network:build\n")
    found = load_project("tiny", settings)
    return found, read_params(found.params, model="tiny", overrides={"dropout": 0.0, "batch_size": 255})


def trained(found: Project, params: TrainParams, processes: int, place: Path) -> Trained:
    asked = params.model_copy(update={"processes": processes})
    return train_model(found, rows(), WINDOW, asked, "cpu", checkpoints=Checkpoints(place, 1e9))


def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    found, params = project(tmp_path)
    alone, together = (trained(found, params, n, tmp_path / str(n)) for n in (1, 2))
    assert (alone.fitted.device, together.fitted.device) == ("cpu", "cpu x 2")
    theirs = together.fitted.network.state_dict()
    for name, tensor in alone.fitted.network.state_dict().items():
        assert tensor.shape == theirs[name].shape
        assert not tensor.numel() or float((tensor - theirs[name]).abs().max()) < 1e-4, name
    assert together.fitted.history[-1].fit_loss == pytest.approx(alone.fitted.history[-1].fit_loss, abs=1e-5)
    assert not (tmp_path / "2" / "job").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"process 1 of the 2.*exit code -9.*SIGKILL.*last checkpoint"),
        ("raise ArithmeticError('the sky fell')", r"process 1 of the 2.*the sky fell.*last checkpoint"),
    ],
)
def test_a_process_that_dies_ends_the_job_with_its_own_message(tmp_path: Path, how: str, said: str) -> None:
    found, params = project(tmp_path, how)
    with pytest.raises(Unavailable, match=said):
        trained(found, params, 2, tmp_path / "kept")
    assert not (tmp_path / "kept" / "job").exists()
