"""What must hold before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import Conflict, Unavailable
from modelyard.runtime import preflight, sockets
from modelyard.runtime.spec import ProcessSpec


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        yield server.getsockname()[1]


def spec(port: int, name: str = "mlflow") -> ProcessSpec:
    return ProcessSpec(name=name, command=("true",), ports=(port,), port_setting="MODELYARD_PORT_MLFLOW")


def test_a_taken_port_names_itself_its_holder_and_the_way_out(taken: int, tmp_path: Path) -> None:
    with pytest.raises(Conflict) as caught:
        preflight.check_ports([spec(taken)], tmp_path, ())
    message = str(caught.value)
    assert f"port {taken}" in message
    assert "mlflow" in message
    assert "MODELYARD_PORT_MLFLOW=" in message
    assert "pytest" in message or "python" in message  # this very process holds it


def test_our_own_running_process_may_have_its_port(taken: int, tmp_path: Path) -> None:
    preflight.check_ports([spec(taken)], tmp_path, {"mlflow"})


def test_two_parts_on_one_port_are_refused(tmp_path: Path) -> None:
    port = sockets.free_port()
    with pytest.raises(Conflict, match=f"mlflow and gateway are both to use port {port}"):
        preflight.check_ports([spec(port), spec(port, "gateway")], tmp_path, ())


def test_a_free_port_is_free(taken: int) -> None:
    assert not sockets.is_free(taken)
    assert sockets.is_free(sockets.free_port())


def test_a_holder_that_is_unknown_is_called_another_process() -> None:
    assert sockets.holder(sockets.free_port()) is None
    assert sockets.describe(None) == "another process"


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    with pytest.raises(Unavailable, match=r"GiB are free.*MODELYARD_HOME"):
        preflight.check_disk(home, needed=1 << 60)
    preflight.check_disk(home, needed=0)
    assert not home.parent.exists()


@pytest.mark.parametrize(("version", "fits"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_which_pythons_fit(version: tuple[int, int], fits: bool) -> None:
    if fits:
        preflight.check_python(version)
    else:
        with pytest.raises(Unavailable, match=r"is not supported: install 3.11, 3.12 or 3.13"):
            preflight.check_python(version)
