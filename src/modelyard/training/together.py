"""Several processes of one machine fit one network together, under torchrun: one for each GPU, or on the CPU.

The work and its result are files: rows and job go into a folder beside the checkpoints, and what the first process
keeps at the end is a finished training, which the caller finds as it finds any other.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.core.errors import Unavailable
from modelyard.release.signature import Signature
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.fit import Rows, choose_device
from modelyard.training.params import TrainParams

WORKER = "modelyard.training.worker"
JOB, ROWS = "job.json", "rows.safetensors"
_LABEL = "label"


@dataclass(frozen=True, slots=True)
class Job:
    """What the processes need besides the rows. ``folder`` is the model's; an empty ``device`` is chosen."""

    folder: Path
    signature: Signature
    params: TrainParams
    device: str = ""


def processes_of(params: TrainParams, device: str = "") -> int:
    """How many processes are to fit together: as many as asked for, else one for each GPU, one on the CPU."""
    if params.processes or (device or choose_device()) == "cpu":
        return params.processes or 1
    import torch

    return int(torch.cuda.device_count())


def fit_together(job: Job, train: Rows, validation: Rows, processes: int, checkpoints: Checkpoints) -> None:
    """Fit in so many processes; the finished training is the newest checkpoint afterwards.

    Raises:
        Unavailable: a process ended before its time, which ends the others; a repetition goes on from the checkpoint.
    """
    place = checkpoints.folder / "job"
    write_job(place, job, train, validation, checkpoints)
    try:
        _launch(place, processes)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_job(place: Path, job: Job, train: Rows, validation: Rows, checkpoints: Checkpoints) -> None:
    """Put the job where its processes read it."""
    from safetensors.numpy import save_file

    place.mkdir(parents=True, exist_ok=True)
    parts = {"train": train, "validation": validation}
    arrays = {f"{part}.{name}": array for part, rows in parts.items() for name, array in rows.feeds.items()}
    arrays |= {f"{part}.{_LABEL}": rows.label for part, rows in parts.items()}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, place / ROWS)
    facts = {
        "folder": str(job.folder.absolute()),
        "signature": job.signature.to_json(),
        "params": job.params.model_dump(mode="json"),
        "device": job.device,
        "checkpoints": {"folder": str(checkpoints.folder.absolute()), "subject": checkpoints.subject},
    }
    (place / JOB).write_text(json.dumps(facts))


def read_job(place: Path) -> tuple[Job, Rows, Rows, Checkpoints]:
    """What ``write_job`` wrote."""
    from safetensors.numpy import load_file

    facts, arrays = json.loads((place / JOB).read_text()), load_file(place / ROWS)
    params = TrainParams.model_validate(facts["params"])
    job = Job(Path(facts["folder"]), Signature.from_json(facts["signature"]), params, facts["device"])
    kept = facts["checkpoints"]
    checkpoints = Checkpoints(Path(kept["folder"]), params.checkpoint_seconds, kept["subject"])
    return job, _rows("train.", arrays), _rows("validation.", arrays), checkpoints


def _rows(prefix: str, arrays: Mapping[str, Any]) -> Rows:
    mine = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    label = mine.pop(_LABEL)
    return Rows(mine, label)


def _launch(place: Path, processes: int) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=place.parent.name[:12],
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        # Not again from here: the caller is retried, and goes on from the checkpoint.
        max_restarts=0,
    )
    with _signals_given_back():
        try:
            elastic_launch(config, sys.executable)("-m", WORKER, str(place))
        except ChildFailedError as error:
            raise Unavailable(_told(error.failures, processes)) from None


def _told(failures: Mapping[int, Any], processes: int) -> str:
    """Which process ended first and why. A signal explains the errors of those that waited for it; SIGTERM is what
    torchrun ends the others with."""
    by_signal = {rank: f for rank, f in failures.items() if f.exitcode < 0 and f.exitcode != -signal.SIGTERM}
    by_themselves = {rank: f for rank, f in failures.items() if f.exitcode > 0}
    first_to_end = by_signal or by_themselves or failures
    rank, first = min(first_to_end.items(), key=lambda item: (item[1].timestamp, item[0]))
    why = first.message if isinstance(first.message, str) else first.message.get("message", "it gave no reason")
    return (
        f"process {rank} of the {processes} that trained together ended (exit code {first.exitcode}): {why}. "
        "The others were ended too. Repeat the training: it goes on from the last checkpoint."
    )


@contextmanager
def _signals_given_back() -> Iterator[None]:
    """torchrun takes over the signals that end a process, and keeps them."""
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {name: signal.getsignal(name) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            if signal.getsignal(name) is not handler:
                signal.signal(name, handler)
