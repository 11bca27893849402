"""Plugins of all tests. Importing them must stay cheap: heavy libraries are imported inside the fixtures."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

os.environ["COLUMNS"] = "200"  # what a command prints is not folded where a test looks for it
pytest_plugins = ["fixtures.database", "fixtures.flights", "fixtures.mlflow_server"]


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count in a process of several; pytest itself counts where it is the only one."""
    for item in items[:1]:
        told: dict[str, int] | None = getattr(item.config, "workeroutput", None)
        if told is not None:
            told["deselected"] = told.get("deselected", 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All processes deselect the same tests: tell the closing line of them once."""
    reporter = node.config.pluginmanager.getplugin("terminalreporter")
    reporter.stats["deselected"] = [SimpleNamespace() for _ in range(node.workeroutput.get("deselected", 0))]
