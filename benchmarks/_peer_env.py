"""The peers that have dependencies of their own: an environment for them, made on demand, and how each is started.

``var/peers/<digest of the lock>`` holds the environment; `make clean` removes it. The peers take tensors, already
encoded, where the gateway takes named fields of which it checks each: what is left out is in their favour.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

from _bundles import CATEGORIES, NUMBERS, values
from _report import ROOT
from _servers import Server, free_port, process

HERE = Path(__file__).parent / "peers"
LOCK = HERE / "requirements.lock"


def environment(lock: Path = LOCK) -> Path:
    """The folder of the commands of the environment that this lock pins; installs it the first time.

    Raises:
        RuntimeError: it cannot be installed; the message is the tool's.
    """
    folder = ROOT / "var" / "peers" / sha256(lock.read_bytes()).hexdigest()[:12]
    tools, done = folder / "bin", folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing the peers' environment of {lock.name} (once)", flush=True)
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", str(tools / "python")]
        for command in ([sys.executable, "-m", "venv", str(folder)], [*uv, "-r", str(lock)]):
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                raise RuntimeError(f"{' '.join(command[:4])} ...: {(ran.stderr or ran.stdout).strip()}")
        done.touch()
    return tools


def bentoml(folder: Path, graph: bytes) -> AbstractContextManager[Server]:
    """``bentoml serve``; see ``peers/bentoml_service.py``."""
    port, home = free_port(), _home(folder, "bentoml", graph)
    command = [str(environment() / "bentoml"), "serve", "bentoml_service:Bench", "--port", str(port)]
    quiet = {"BENTOML_HOME": str(home / "home"), "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "true"}
    env = quiet | {"BENCH_GRAPH": str(home / "model.onnx"), "PATH": _path()}
    return process([*command, "--working-dir", str(HERE)], port, "/readyz", log=home / "log", **env)


def mlserver(folder: Path, graph: bytes) -> AbstractContextManager[Server]:
    """``mlserver start``; see ``peers/mlserver_runtime.py``."""
    port, home = free_port(), _home(folder, "mlserver", graph)
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings |= {"debug": False, "parallel_workers": 0, "metrics_dir": str(home)}
    model = {"name": "bench", "implementation": "mlserver_runtime.Bench"}
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "model-settings.json").write_text(json.dumps(model))
    command = [str(environment() / "mlserver"), "start", str(home)]
    env = {"BENCH_GRAPH": str(home / "model.onnx"), "PYTHONPATH": str(HERE), "PATH": _path()}
    return process(command, port, "/v2/models/bench/ready", log=home / "log", **env)


def bentomls(n: int) -> bytes:
    """The n-th request's body for BentoML: one array."""
    numeric, categorical = values(n)
    return json.dumps({"rows": [numeric + categorical]}).encode()


def mlservers(n: int) -> bytes:
    """The n-th request's body for MLServer: the Open Inference Protocol."""
    numeric, categorical = values(n)
    tensors = [
        {"name": "numeric", "shape": [1, NUMBERS], "datatype": "FP32", "data": numeric},
        {"name": "categorical", "shape": [1, CATEGORIES], "datatype": "INT64", "data": categorical},
    ]
    return json.dumps({"inputs": tensors}).encode()


def _home(folder: Path, name: str, graph: bytes) -> Path:
    home = folder / name
    home.mkdir(parents=True)
    (home / "model.onnx").write_bytes(graph)
    return home


def _path() -> str:
    # The tools start others by their names.
    import os

    return f"{environment()}{os.pathsep}{os.environ['PATH']}"
