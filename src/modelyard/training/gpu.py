"""What a GPU is doing, where there is one. Written by the libraries' documentation; no GPU has been seen."""

from __future__ import annotations

import importlib.util

MIB = 2**20


def gpu_metrics() -> dict[str, float]:
    """Memory of this process on the current device (MiB), and with ``pynvml`` its utilisation (%) and temperature (°C).

    Empty without CUDA.
    """
    import torch

    if not torch.cuda.is_available():
        return {}
    found = {
        "gpu_memory_mib": torch.cuda.memory_allocated() / MIB,
        "gpu_memory_peak_mib": torch.cuda.max_memory_reserved() / MIB,
    }
    if importlib.util.find_spec("pynvml"):
        found["gpu_utilisation_percent"] = float(torch.cuda.utilization())
        found["gpu_temperature_celsius"] = float(torch.cuda.temperature())
    return found
