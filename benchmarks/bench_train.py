"""The trainer beside a bare PyTorch loop written by hand that does the same work, and what its extras cost.

Rows are made up, of the flights' shape; numbers are those of ``params.yaml``. On the CPU both use one thread, and time
is the process's processor time, which other programs on the machine disturb less than the clock's; rounds alternate and
medians are compared. Checkpoints and logging wait for disk and server: there the clock counts, as a share of the time
between two of them. On a GPU all time is the clock's, after a synchronisation.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError

import numpy as np
from _report import RESULTS, ROOT, Facts, Row, write_part

from modelyard.config.project import load_project
from modelyard.config.settings import Settings
from modelyard.flows.training_log import EVERY_SECONDS, RunLog
from modelyard.runtime import sockets
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.fit import Rows, choose_device, fit
from modelyard.training.params import TrainParams, read_params
from modelyard.training.watch import Epoch

NUMBERS, CODES, PARTS = 27, (16, 4, 90, 20), ("throughput", "start", "extras", "compile")


def rows(n: int, seed: int) -> Rows:
    """Rows of the flights' shape whose label can be learnt a little."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(n, NUMBERS)).astype(np.float32)
    numeric[rng.random(numeric.shape) < 0.02] = np.nan
    categorical = np.stack([rng.integers(0, most, n) for most in CODES], axis=1)
    chance = 1 / (1 + np.exp(1.2 - np.nan_to_num(numeric[:, 0])))
    return Rows({"numeric": numeric, "categorical": categorical}, (rng.random(n) < chance).astype(np.float32))


def network(params: TrainParams) -> Callable[[], Any]:
    """What builds the standard network for these rows."""
    from modelyard.training.network import Shape, TabularNetwork

    shape = Shape(NUMBERS, tuple(range(NUMBERS)), CODES, params.hidden, params.embedding, params.dropout)
    return lambda: TabularNetwork(shape)


def bare(train: Rows, validation: Rows, params: TrainParams, device: str, first: Callable[[], None]) -> Any:
    """The same training in plain PyTorch: what one would write by hand, knowing how."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(params.seed)
    model = network(params)()
    model.adapt(torch.from_numpy(train.feeds["numeric"]))
    model.to(device)
    x, c, y = (torch.from_numpy(a).to(device) for a in (*train.feeds.values(), train.label))
    held_x, held_c, held_y = (torch.from_numpy(a).to(device) for a in (*validation.feeds.values(), validation.label))
    wide, flat = ([p for p in model.parameters() if (p.ndim > 1) == many] for many in (True, False))
    groups = [{"params": wide, "weight_decay": params.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=params.lr)
    steps = math.ceil(len(train) / params.batch_size) * params.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, params.lr, total_steps=steps, pct_start=params.warmup)
    criterion = torch.nn.functional.binary_cross_entropy_with_logits
    least, best = math.inf, None
    for _ in range(params.epochs):
        model.train()
        total = torch.zeros((), device=device)
        for index in torch.randperm(len(train), device=device).split(params.batch_size):
            optimiser.zero_grad(set_to_none=True)
            loss = criterion(model(numeric=x[index], categorical=c[index]), y[index])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach() * index.shape[0]
            first()
        model.eval()
        with torch.no_grad():
            held = float(criterion(model(numeric=held_x, categorical=held_c), held_y))
        if held < least:
            least, best = held, {name: t.clone() for name, t in model.state_dict().items()}
        assert math.isfinite(float(total))
    model.load_state_dict(best)
    return model


def with_loader(train: Rows, params: TrainParams, device: str) -> None:
    """The textbook loop: a DataLoader that collates rows one by one. One epoch, no validation."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    model = network(params)().to(device)
    model.adapt(torch.from_numpy(train.feeds["numeric"]))
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=params.lr)
    data = TensorDataset(*(torch.from_numpy(a) for a in (*train.feeds.values(), train.label)))
    for x, c, y in DataLoader(data, batch_size=params.batch_size, shuffle=True):
        optimiser.zero_grad(set_to_none=True)
        logit = model(numeric=x.to(device), categorical=c.to(device))
        torch.nn.functional.binary_cross_entropy_with_logits(logit, y.to(device)).backward()
        optimiser.step()


def spent(work: Callable[[], object], device: str) -> float:
    """Seconds of the processor; of the clock on a GPU."""
    import torch

    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - began


def throughput(params: TrainParams, device: str, rounds: int) -> list[Row]:
    """Samples per second of whole trainings, ours beside the bare loop's and the textbook's."""
    train, validation = rows(60_000, 1), rows(6_500, 2)
    float32 = params.model_copy(update={"precision": "float32"})
    found: dict[str, list[float]] = {"ours": [], "bare": [], "loader": []}
    for number in range(rounds + 1):  # the first one warms up
        seconds = {
            "ours": spent(lambda: fit(network(params), train, validation, float32, device), device),
            "bare": spent(lambda: bare(train, validation, params, device, lambda: None), device),
            "loader": spent(lambda: with_loader(train, params, device), device) * params.epochs,
        }
        for name, value in seconds.items() if number else ():
            found[name].append(len(train) * params.epochs / value)
        print(number, {name: round(value, 2) for name, value in seconds.items()}, flush=True)
    ours, by_hand, textbook = (median(found[name]) for name in ("ours", "bare", "loader"))
    five = 5.0 if device == "cuda" else None
    return [
        Row(f"samples/s, {device}", ours, "1/s", "bare PyTorch loop", by_hand, "higher", 0.97),
        Row(f"samples/s, {device}", ours, "1/s", "DataLoader loop", textbook, "higher", five),
    ]


class _FirstStep(Exception):
    pass


def until_first_step(who: str) -> None:
    """In a fresh process: print its processor seconds from its start to the end of the first step."""
    params, train, validation = TrainParams(hidden=(128, 64)), rows(60_000, 1), rows(6_500, 2)
    made = time.process_time()

    def stop(*_: object) -> None:
        raise _FirstStep

    try:
        if who == "bare":
            bare(train, validation, params, "cpu", stop)
        else:
            from modelyard.training.watch import Watch

            watch = Watch()
            watch.stepped = stop  # type: ignore[method-assign]
            fit(network(params), train, validation, params, "cpu", watch=watch)
    except _FirstStep:
        print(time.process_time() - made)


def start(rounds: int) -> list[Row]:
    """Processor seconds to the first step with the rows at hand, torch's import included, each in a fresh process."""
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for who, values in found.items():
            asked = [sys.executable, __file__, "--until-first-step", who]
            values.append(float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout))
    return [Row("start to first step", median(found["ours"]), "s", "bare PyTorch loop", median(found["bare"]), "lower")]


def extras(params: TrainParams, rounds: int) -> list[Row]:
    """What a checkpoint and a call of the log cost, as shares of the time between two of them; at most 2% each."""
    train, validation = rows(60_000, 1), rows(6_500, 2)
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-train-") as scratch:
        kept = Checkpoints(Path(scratch) / "kept", 1e9)
        fit(network(params), train, validation, params.model_copy(update={"epochs": 1}), "cpu", checkpoints=kept)
        state = kept.newest()
        assert state is not None
        saving = median(spent_on_the_clock(lambda: kept.save(state)) for _ in range(rounds))
        with mlflow_server(Path(scratch)) as uri:
            sending = logging_seconds(uri, rounds)
    every, unit = params.checkpoint_seconds, "of the time"
    shares = {f"checkpoint every {every:g} s": saving / every}
    shares |= {f"logging every {EVERY_SECONDS:g} s": sending / EVERY_SECONDS}
    print(f"a checkpoint {saving * 1000:.0f} ms, a call of the log {sending * 1000:.0f} ms")
    return [Row(f"share of {what}", share, unit, "limit", 0.02, "lower", 1.0) for what, share in shares.items()]


def spent_on_the_clock(work: Callable[[], object]) -> float:
    """Seconds of the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def logging_seconds(uri: str, rounds: int) -> float:
    """The median time that a call with ten epochs' numbers keeps a training waiting, at a real MLflow server."""
    from modelyard.adapters.mlflow_tracking import MlflowTracking

    found = []
    with MlflowTracking(uri).start("bench", "bench", {}) as run:
        for number in range(rounds + 1):
            log = RunLog(run)
            for epoch in range(1, 10):
                log.closed(Epoch(10 * number + epoch, 0.5, 0.5, 0.1))
            found.append(spent_on_the_clock(log.flush))
    return median(found[1:])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A server of our own on SQLite."""
    port = sockets.free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    log = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, "MLflow did not start"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except (URLError, OSError):
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)


def compiled(params: TrainParams, device: str) -> list[Row]:
    """A whole training with ``torch.compile`` beside one without, the compilation included."""
    train, validation = rows(60_000, 1), rows(6_500, 2)
    both = [params.model_copy(update={"compiled": backend}) for backend in ("off", "inductor")]
    plain, faster = (spent(lambda p=p: fit(network(p), train, validation, p, device), device) for p in both)
    again = spent(lambda: fit(network(both[1]), train, validation, both[1], device), device)
    return [
        Row(f"one training with torch.compile, {device}", faster, "s", "without", plain, "lower"),
        Row(f"a second one in the same process, {device}", again, "s", "without", plain, "lower"),
    ]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="", help="cuda or cpu; by default what there is")
    parser.add_argument("--until-first-step", choices=("ours", "bare"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.until_first_step:
        until_first_step(given.until_first_step)
        return
    device = given.device or choose_device()
    project = load_project("flight_delay", Settings.from_env({"MODELYARD_ROOT": str(ROOT)}))
    params = read_params(project.params, model=project.name)
    work = {
        "throughput": lambda: throughput(params, device, given.rounds),
        "start": lambda: start(given.rounds),
        "extras": lambda: extras(params, 3 * given.rounds),
        "compile": lambda: compiled(params, device),
    }
    for part in given.parts:
        facts = Facts()
        write_part(RESULTS / "train.json", part, work[part](), facts, device=_named(device), rounds=given.rounds)


def _named(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


if __name__ == "__main__":
    main()
