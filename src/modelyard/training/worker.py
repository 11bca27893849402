"""One process of a training by several: ``torchrun --nproc-per-node N -m modelyard.training.worker JOB_FOLDER``."""

from __future__ import annotations

import os
import sys
import threading
from datetime import timedelta
from pathlib import Path

# The decorator hands an error on to torchrun. Nothing but torchrun loads this module.
import torch  # noqa: TID253
import torch.distributed  # noqa: TID253
from torch.distributed.elastic.multiprocessing.errors import record  # noqa: TID253

from modelyard.config.project import Project, read_spec
from modelyard.core.orphans import end_with
from modelyard.training.build import builder
from modelyard.training.fit import choose_device, fit
from modelyard.training.ranks import Ranks
from modelyard.training.together import read_job

PATIENCE = timedelta(minutes=10)
"""So long a process waits for the others before it gives up: longer than the slowest step of any of them."""


@record  # type: ignore[untyped-decorator]  # torch is not followed
def main() -> None:
    """Fit as the process that torchrun's variables name."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    job, train, validation, checkpoints = read_job(Path(sys.argv[1]))
    device = job.device or choose_device()
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
        build = builder(Project(job.folder, read_spec(job.folder), {}), job.signature, job.params)
        fit(build, train, validation, job.params, device, checkpoints=checkpoints, ranks=ranks)
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
